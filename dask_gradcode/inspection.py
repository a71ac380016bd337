"""Whether a message can be right: its size, whether it is finite, and what its replicas say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg.blas import ddot

from dask_gradcode.codes import GradientCode
from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Part, Payload, Vector

__all__ = ["Doubt", "Inspector"]

AGREEMENT = 1e-6
"""How far equal messages may differ, relative to their norm: float32 blocks round that much."""


@dataclass(frozen=True)
class Doubt:
    """Something that was sent and cannot be right.

    Parameters
    ----------
    roles : tuple of int
        Its senders: one worker, or two that contradict each other.
    blocks : tuple of int
        The blocks that it is about.
    what : str
        What is wrong.
    fits : bool
        Whether it has the right size, so that it can be added should nobody contradict it.
    """

    roles: tuple[int, ...]
    blocks: tuple[int, ...]
    what: str
    fits: bool = True


class _Digest(NamedTuple):
    """Numbers in which two payloads that differ, differ too: one or two passes over a payload."""

    n_values: int
    norm: float
    mark: float | None

    @property
    def finite(self) -> bool:
        return math.isfinite(self.norm)

    def agrees(self, other: _Digest) -> bool:
        # below that squares underflow, and so does the norm
        bound = max(AGREEMENT * max(self.norm, other.norm), 1e-150)
        if abs(self.norm - other.norm) > bound:
            return False
        if self.mark is None or other.mark is None or self.n_values != other.n_values:
            return True  # of the zeros in between not all are sent: there are no marks to compare
        return abs(self.mark - other.mark) <= bound


class Inspector:
    """Looks at the messages of one round; keeps three numbers of each, but no payload.

    Parameters
    ----------
    code : GradientCode
        Says which messages several workers can send.
    w : ndarray, optional
        The point, or the points. None: it counts as finite.
    statistic : Statistic, optional
        What payloads contain. None: sizes are not checked.
    """

    def __init__(
        self, code: GradientCode, w: Vector | None = None, statistic: Statistic | None = None
    ) -> None:
        self._code = code
        self._size = None if statistic is None else statistic.size
        self._w, self._w_is_finite = w, True
        # by message the role that sent it first, and the digest, as a plain tuple of numbers, which
        # is nothing to the garbage collector
        self._first: dict[int, tuple[int, int, float, float | None]] = {}

    def doubt(self, role: int, message: int, payload: Payload) -> Doubt | None:
        """Return why what a role sent cannot be right, or which role it contradicts.

        Parameters
        ----------
        role : int
            The role that sent it.
        message : int
            Its index in ``code.messages``.
        payload : ndarray or Part
            What came.
        """
        if self._size is not None and not self._fits(message, payload, self._size):
            sent = self._code.messages[message]
            expected = sent.slices.length(self._size)
            what = f"it sent {payload.size} numbers where {expected} were expected"
            return Doubt((role,), sent.blocks, what, fits=False)
        if self._w is not None:  # not at the start, for which everybody waits
            self._w_is_finite, self._w = bool(np.isfinite(self._w).all()), None
        values = payload.values if isinstance(payload, Part) else payload
        has_replicas = len(self._code.senders(message)) > 1
        if not has_replicas and math.isfinite(_square(values)):
            return None
        digest = _digest(values, marked=has_replicas)
        if not has_replicas and digest.finite:
            return None
        sent = self._code.messages[message]
        if not digest.finite:
            what = "it sent a message that is not finite"
            # a sum over what others have computed says nothing about its sender
            blamed = self._w_is_finite and not self._code.exchanges
            return Doubt((role,), sent.blocks, what) if blamed else None
        first = self._first.get(message)
        if first is None:
            self._first[message] = role, *digest
            return None
        if _Digest(*first[1:]).agrees(digest):
            return None
        return Doubt((first[0], role), sent.blocks, "they sent different sums of the same rows")

    def _fits(self, message: int, payload: Payload, size: int) -> bool:
        """Say whether a payload is as long as its message should be."""
        if payload.size != size:
            return False
        # what is sent in slices has been made a part by its receiver if its length is right
        return self._code.resolution == 1 or isinstance(payload, Part)


def _digest(values: Vector, *, marked: bool) -> _Digest:
    if not values.size:  # as all are in a simulation, where this is most of the time
        return _EMPTY
    square = _square(values)
    norm = math.sqrt(square) if math.isfinite(square) else _careful_norm(values)
    mark = None
    if marked and math.isfinite(norm):
        mark = ddot(values, _probe(values.size))
    return _Digest(values.size, norm, mark)


_EMPTY = _Digest(0, 0.0, 0.0)


def _square(values: Vector) -> float:
    # unlike NumPy's this does not warn of an overflow; it takes no empty array
    return ddot(values, values) if values.size else 0.0


def _careful_norm(values: Vector) -> float:
    """Return the norm where squares overflow; not finite if and only if a value is not."""
    largest = float(np.abs(values).max())
    if not math.isfinite(largest):
        return math.nan
    return min(largest * float(np.linalg.norm(values / largest)), float(np.finfo(float).max))


_longest_probe: Vector = np.empty(0)


def _probe(size: int) -> Vector:
    """Return numbers whose product with a difference is about as large as the difference.

    The same numbers for all sizes, as payloads of many sizes come in turns.
    """
    global _longest_probe
    probe = _longest_probe
    if probe.size < size:
        probe = np.random.default_rng(0).standard_normal(1 << size.bit_length())
        _longest_probe = probe
    return probe[:size]
