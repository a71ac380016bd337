"""The sum of a round's messages, where possible begun while others are still on their way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from dask_gradcode.codes.decoding import Decoding
from dask_gradcode.codes.slices import add_slices
from dask_gradcode.sparsetools import sparsetools
from dask_gradcode.typing import Matrix, Part, Payload, Vector

__all__ = [
    "LaterSum",
    "PrefixSum",
    "Sum",
    "add_payload",
    "add_payloads",
    "mixed_sum",
    "scaled",
    "weighted_sum",
]


def weighted_sum(weights: Vector, payloads: Mapping[int, Payload]) -> Vector:
    """Return ``sum_i weights[i] * payloads[i]``, added in ascending order of ``i``.

    Parameters
    ----------
    weights : ndarray of shape (n_messages,)
        Zero where there is no payload.
    payloads : mapping of int to ndarray or Part
        By message.
    """
    used = np.flatnonzero(weights).tolist()
    total = np.zeros(_size(payloads[used[0]]))
    for index in used:
        add_payload(total, float(weights[index]), payloads[index])
    return total


def mixed_sum(weights: Matrix, payloads: Mapping[int, Payload]) -> Vector:
    """Return the sum of messages that are sums of several slices.

    Parameters
    ----------
    weights : ndarray of shape (n_messages, n_slices)
        The weight of each message in each slice of the sum; zero where there is no payload.
    payloads : mapping of int to Part
        By message.
    """
    used = np.flatnonzero(weights.any(axis=1)).tolist()
    total = np.zeros(_size(payloads[used[0]]))
    for index in used:
        payload = payloads[index]
        sent = payload.values if isinstance(payload, Part) else payload
        add_slices(total, weights[index], sent)
    return total


def add_payloads(left: Payload, right: Payload) -> Payload:
    """Return the sum of two payloads, a part if both give the same entries."""
    if isinstance(left, Part) and isinstance(right, Part):
        same = left.entries is right.entries or np.array_equal(left.entries, right.entries)  # type: ignore[arg-type]
        if same:
            return Part(left.values + right.values, left.entries, left.size)
    total = np.zeros(_size(left))
    add_payload(total, 1.0, left)
    add_payload(total, 1.0, right)
    return total


def _size(payload: Payload) -> int:
    return payload.size if isinstance(payload, Part) else int(payload.size)


def scaled(weight: float, payload: Payload) -> Payload:
    """Return ``weight * payload``."""
    if isinstance(payload, Part):
        return Part(weight * payload.values, payload.entries, payload.size)
    return weight * payload


def add_payload(total: Vector, weight: float, payload: Payload) -> None:
    """Add ``weight * payload`` to ``total``."""
    if isinstance(payload, Part):
        _scatter(total, weight, payload)
    else:
        total += payload if weight == 1.0 else weight * payload


def _scatter(total: Vector, weight: float, part: Part) -> None:
    values, entries = part.values, part.entries
    assert entries is not None  # a code that mixes slices adds them up itself
    if isinstance(entries, slice):
        total[entries] += values if weight == 1.0 else weight * values
        return
    if sparsetools is None:
        total[entries] += weight * values  # no entry twice
        return
    # A part is a sparse matrix of one column: its product with the weight is added in one pass.
    ends = np.array([0, entries.size], dtype=entries.dtype)
    sparsetools.csc_matvec(total.size, 1, ends, entries, values, np.array([weight]), total)


class Sum(Protocol):
    """What a round adds its messages to."""

    def add(self, message: int, payload: Payload) -> None:
        """Take in a message that arrived, each once."""
        ...

    def total(self, decoding: Decoding) -> Vector:
        """Return the sum by a decoding of just these messages."""
        ...


class LaterSum:
    """Keeps the messages until their weights are known.

    Parameters
    ----------
    combine : callable
        The code's: ``combine(decoding, payloads)`` is the sum.
    """

    def __init__(self, combine: Callable[[Decoding, Mapping[int, Payload]], Vector]) -> None:
        self._combine = combine
        self._payloads: dict[int, Payload] = {}

    def add(self, message: int, payload: Payload) -> None:
        self._payloads[message] = payload

    def total(self, decoding: Decoding) -> Vector:
        return self._combine(decoding, self._payloads)


class PrefixSum:
    """Adds messages with weights of one, in their order.

    A message is added as soon as it and all before it have arrived: the order of addition, and so
    the bits of the sum, do not depend on the order of arrival.
    """

    def __init__(self) -> None:
        self._answers: dict[int, Payload] = {}  # that are not yet added
        self._n_added = 0
        self._total: Vector | None = None

    def add(self, message: int, payload: Payload) -> None:
        self._answers[message] = payload
        while self._n_added in self._answers:
            self._take(self._answers.pop(self._n_added))
            self._n_added += 1

    def total(self, decoding: Decoding) -> Vector:
        for message in sorted(self._answers):  # what is left is behind one that never came
            self._take(self._answers[message])
        self._answers.clear()
        assert self._total is not None
        return self._total

    def _take(self, payload: Payload) -> None:
        if self._total is None:
            self._total = np.zeros(_size(payload))
        add_payload(self._total, 1.0, payload)
