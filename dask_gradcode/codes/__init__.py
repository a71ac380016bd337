"""Gradient codes: which worker sums which blocks, and how to decode without the stragglers.

A new code is one file here, one line below and some in ``tests/code_lists.py``.
"""

from dask_gradcode.codes.auto import make_code
from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.cooperative import CooperativeRepetition
from dask_gradcode.codes.cyclic import CyclicRepetition
from dask_gradcode.codes.declustered import DeclusteredRepetition
from dask_gradcode.codes.decoding import Decoder, Decoding, Judge
from dask_gradcode.codes.fractional import FractionalRepetition
from dask_gradcode.codes.graph import GraphRepetition
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.partial import PartialStragglers
from dask_gradcode.codes.size import Size
from dask_gradcode.codes.sliced import SlicedRepetition
from dask_gradcode.codes.sliced_design import SlicedDesign
from dask_gradcode.codes.sliced_graph import SlicedGraph
from dask_gradcode.codes.slices import Slices
from dask_gradcode.codes.span import SpanDecoder
from dask_gradcode.codes.uncoded import Uncoded

__all__ = [
    "CooperativeRepetition",
    "CyclicRepetition",
    "DeclusteredRepetition",
    "Decoder",
    "Decoding",
    "FractionalRepetition",
    "GradientCode",
    "GraphRepetition",
    "Judge",
    "Message",
    "PartialStragglers",
    "Size",
    "SlicedDesign",
    "SlicedGraph",
    "SlicedRepetition",
    "Slices",
    "SpanDecoder",
    "Uncoded",
    "make_code",
]
