"""What is sent: a linear combination of block gradients."""

from __future__ import annotations

from dataclasses import dataclass

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

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> FractionalRepetition(4, 1).messages[1]
    Message(blocks=(2, 3), coefficients=(1.0, 1.0))
    """

    blocks: tuple[int, ...]
    coefficients: tuple[float, ...]
