"""Sums over what others have computed, of which some may not have come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dask_gradcode.codes import Message
from dask_gradcode.typing import Vector

__all__ = ["Exchanged", "exchanged_sum"]


class Exchanged(NamedTuple):
    """A sum that says which blocks are in it.

    Parameters
    ----------
    payload : ndarray of shape (n_entries,)
        The sum.
    blocks : tuple of int or None
        The blocks in it. None: all of its message.

    Examples
    --------
    :func:`exchanged_sum` makes one.

    >>> Exchanged(np.array([1.0, 7.0]), blocks=(0, 2)).blocks
    (0, 2)
    """

    payload: Vector
    blocks: tuple[int, ...] | None


def exchanged_sum(message: Message, received: Mapping[int, Vector]) -> Exchanged:
    """Return as much of a message as can be made of what was received.

    Parameters
    ----------
    message : Message
        The sum that is wanted.
    received : mapping of int to ndarray of shape (n_entries,)
        The payloads of single blocks, one of the message's at least. Others are ignored.

    Returns
    -------
    Exchanged
        The sum of the ones that there are, in ascending order, and which they are.

    Examples
    --------
    >>> message = Message((0, 1, 2), (1.0, 2.0, 3.0))
    >>> exchanged_sum(message, {0: np.array([1.0, 1.0]), 2: np.array([0.0, 2.0])})
    Exchanged(payload=array([1., 7.]), blocks=(0, 2))
    """
    terms = list(zip(message.blocks, message.coefficients, strict=True))
    there = [(block, coefficient) for block, coefficient in terms if block in received]
    total = np.zeros_like(received[there[0][0]])
    for block, coefficient in there:
        total += coefficient * received[block]
    blocks = tuple(block for block, _ in there)
    return Exchanged(total, None if len(blocks) == len(message.blocks) else blocks)
