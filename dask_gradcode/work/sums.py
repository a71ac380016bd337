"""Whole sums that messages are slices of: computed once, however many slices are asked for."""

from __future__ import annotations

from collections.abc import Callable

from dask_gradcode.codes import Message
from dask_gradcode.typing import Vector

__all__ = ["Sums"]

_Key = tuple[tuple[int, ...], tuple[float, ...]]


class Sums:
    """The whole sums of one round, by the blocks that they are over.

    Parameters
    ----------
    n_kept : int, optional
        How many are kept, the newest. None: all.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.codes import SlicedRepetition
    >>> code, sums = SlicedRepetition(2, 1), Sums()
    >>> for message in code.messages:
    ...     payload = sums.get(message, lambda: print("computing") or np.arange(4.0))
    ...     print(message.slices.of(payload))
    computing
    [0. 1.]
    [2. 3.]
    """

    def __init__(self, n_kept: int | None = None) -> None:
        self._n_kept = n_kept
        self._sums: dict[_Key, Vector] = {}

    def __contains__(self, message: Message) -> bool:
        """Say whether the sum that a message is sent of is kept."""
        return (message.blocks, message.coefficients) in self._sums

    def get(
        self, message: Message, compute: Callable[[], Vector | None], *, keep: bool = False
    ) -> Vector | None:
        """Return the sum that a message is sent of.

        Parameters
        ----------
        message : Message
            The message.
        compute : callable
            Returns the sum; None if told to stop.
        keep : bool, default=False
            Whether to keep it though it is sent as a whole: it may be asked for later.

        Returns
        -------
        ndarray of shape (size,) or None
            Kept where it is sent in slices: more of them may be asked for.
        """
        key = message.blocks, message.coefficients
        found = self._sums.get(key)
        if found is None:
            found = compute()
            if found is not None and (keep or not message.slices.is_whole):
                self._sums[key] = found
                while self._n_kept is not None and len(self._sums) > self._n_kept:
                    del self._sums[next(iter(self._sums))]
        return found

    def clear(self) -> list[Vector]:
        """Return the sums, and keep them no more."""
        found = list(self._sums.values())
        self._sums.clear()
        return found
