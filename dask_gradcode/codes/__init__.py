"""Gradient codes: which worker sums which blocks, and how the sums are decoded."""

from dask_gradcode.codes.auto import make_code
from dask_gradcode.codes.base import Decoder, Decoding, GradientCode, Message
from dask_gradcode.codes.cyclic import CyclicRepetition
from dask_gradcode.codes.fractional import FractionalRepetition
from dask_gradcode.codes.span import SpanDecoder
from dask_gradcode.codes.uncoded import Uncoded

__all__ = [
    "CyclicRepetition",
    "Decoder",
    "Decoding",
    "FractionalRepetition",
    "GradientCode",
    "Message",
    "SpanDecoder",
    "Uncoded",
    "make_code",
]
