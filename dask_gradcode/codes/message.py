"""What is sent: a linear combination of block gradients, or slices of it."""

from __future__ import annotations

from dataclasses import dataclass

from dask_gradcode.codes.slices import WHOLE, Slices

__all__ = ["Message"]


@dataclass(frozen=True)
class Message:
    """One linear combination of block gradients, which any holder of the blocks may send.

    Parameters
    ----------
    blocks : tuple of int
        The blocks it combines, ascending.
    coefficients : tuple of float
        Their coefficients, in the same order.
    slices : Slices, optional
        Which slices of the combination are sent; all of it if not given.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition, SlicedRepetition
    >>> FractionalRepetition(4, 1).messages[1]
    Message(blocks=(2, 3), coefficients=(1.0, 1.0))
    >>> SlicedRepetition(4, 1).messages[3].slices
    Slices(n_slices=2, first=1, weights=(1.0,))
    """

    blocks: tuple[int, ...]
    coefficients: tuple[float, ...]
    slices: Slices = WHOLE

    def __repr__(self) -> str:
        sliced = "" if self.slices.is_whole else f", slices={self.slices}"
        return f"Message(blocks={self.blocks}, coefficients={self.coefficients}{sliced})"
