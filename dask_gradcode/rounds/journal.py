"""What an objective has said so far, so that a fit can go back and come by the same way again.

An optimizer is a function of what its objective says. Told the same again it comes to the same
iterate, bit for bit, with all that it remembers; and no worker has to compute anything for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import IO, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from dask_gradcode.typing import Evaluation, Matrix, Objective, Vector

__all__ = ["AuditedObjective", "Journal", "TakenBackError", "to_the_end"]

Result = TypeVar("Result")


class TakenBackError(RuntimeError):
    """Sums of earlier rounds were wrong, which was found only now.

    Code that calls an objective through ``audited`` does not see it.

    Parameters
    ----------
    text : str
        What was found.
    round : int
        The first round with a wrong sum.
    n_rounds : int
        How many rounds are taken back: that one, and all after it.

    Attributes
    ----------
    seen : sequence of Evaluation
        What the call would have returned: its rounds have been run, and may be wrong.

    Examples
    --------
    >>> TakenBackError("Role 1 has sent a wrong sum in round 3.", round=3, n_rounds=5).n_rounds
    5
    """

    def __init__(self, text: str, round: int, n_rounds: int) -> None:
        super().__init__(text)
        self.round, self.n_rounds = round, n_rounds
        self.seen: Sequence[Evaluation] = ()


@runtime_checkable
class AuditedObjective(Objective, Protocol):
    """An objective that may find out later that it has said something wrong.

    Attributes
    ----------
    is_repeating : bool
        Whether what it said last it had said before.
    """

    is_repeating: bool

    def audited(self, run: Callable[[], Result], where: Callable[[Result], Vector]) -> Result:
        """Run a fit; from the beginning again where something that it was told was wrong."""
        ...


def to_the_end(
    objective: Objective, run: Callable[[], Result], where: Callable[[Result], Vector]
) -> Result:
    """Run a fit, as often as its objective finds that it has said something wrong.

    Parameters
    ----------
    objective : Objective
        What is minimised.
    run : callable
        Minimises, and returns where it has ended. It may be called again.
    where : callable
        Returns the objective's point at that end.

    Examples
    --------
    >>> to_the_end(lambda w: Evaluation(0.0, w), lambda: 3.0, lambda found: np.array([found]))
    3.0
    """
    if isinstance(objective, AuditedObjective):
        return objective.audited(run, where)
    return run()


class _Place(NamedTuple):
    """Where an array is: in memory, or in a file."""

    array: Matrix | None
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Entry:
    kind: str
    point: _Place
    seen: Sequence[Evaluation]  # their arrays are empty
    arrays: Sequence[tuple[_Place, _Place | None]]  # gradients and Hessians
    rounds: range


class Journal:
    """All calls of an objective and what it has answered.

    Parameters
    ----------
    limit : float
        Bytes that are kept in memory; what is more goes to a temporary file.

    Attributes
    ----------
    is_repeating : bool
        Whether the last call was answered from here.

    Examples
    --------
    >>> journal = Journal(limit=1e6)
    >>> w = np.array([1.0])
    >>> journal.recall("value", w)
    >>> journal.keep("value", w, [Evaluation(2.0, np.array([3.0]))], range(0, 1))
    >>> journal.rewind()
    >>> [seen] = journal.recall("value", w)
    >>> seen.gradient, journal.is_repeating
    (array([3.]), True)
    """

    def __init__(self, limit: float) -> None:
        self._limit, self._held = limit, 0
        self._file: IO[bytes] | None = None
        self._entries: list[_Entry] = []
        self._next = 0
        self.is_repeating = False

    def recall(self, kind: str, point: Matrix) -> list[Evaluation] | None:
        """Return what was answered to the same call; None if there was no such call.

        Parameters
        ----------
        kind : str
            What was asked for.
        point : ndarray of shape (n_parameters,) or (n_points, n_parameters)
            Where.
        """
        self.is_repeating = False
        if self._next < len(self._entries):
            entry = self._entries[self._next]
            if entry.kind == kind and _same(self._get(entry.point), point):
                self._next += 1
                self.is_repeating = True
                return self._retold(entry)
            self.drop(self._next)  # it goes another way now
        return None

    def keep(self, kind: str, point: Matrix, seen: Sequence[Evaluation], rounds: range) -> None:
        """Keep what a call was answered, and in which rounds."""
        bare = [replace(one, gradient=_NOTHING, hessian=None, record=None) for one in seen]
        arrays = [
            (self._put(one.gradient), None if one.hessian is None else self._put(one.hessian))
            for one in seen
        ]
        self._entries.append(_Entry(kind, self._put(point), bare, arrays, rounds))
        self._next = len(self._entries)

    def point(self, round: int) -> tuple[Matrix, str, int]:
        """Return the points and the kind of a round's call, and which of its rounds it was."""
        entry = next(entry for entry in reversed(self._entries) if round in entry.rounds)
        return self._get(entry.point), entry.kind, round - entry.rounds.start

    def __contains__(self, round: int) -> bool:
        return any(round in entry.rounds for entry in self._entries)

    def newest(self) -> range:
        """Return the rounds of the last call; none if there was none."""
        return self._entries[-1].rounds if self._entries else range(0)

    def at(self, w: Vector) -> range:
        """Return the rounds of the newest call at a point; none if there was none."""
        for entry in reversed(self._entries):
            if _same(self._get(entry.point), w):
                return entry.rounds
        return range(0)

    def rewind(self, round: int | None = None) -> None:
        """Begin again; what was said in a round and after it is forgotten."""
        if round is not None:
            kept = (i for i, entry in enumerate(self._entries) if entry.rounds.stop > round)
            self.drop(next(kept, len(self._entries)))
        self._next, self.is_repeating = 0, False

    def drop(self, first: int) -> None:
        """Forget calls, from one on."""
        for entry in self._entries[first:]:
            gone = [entry.point, *(place for pair in entry.arrays for place in pair if place)]
            self._held -= sum(place.array.nbytes for place in gone if place.array is not None)
        del self._entries[first:]

    def clear(self) -> None:
        """Forget all."""
        self.drop(0)
        self.rewind()

    def close(self) -> None:
        """Forget all, and keep no file."""
        self.clear()
        if self._file is not None:
            self._file.close()

    def _put(self, array: Matrix) -> _Place:
        if self._held + array.nbytes <= self._limit:
            self._held += array.nbytes
            return _Place(array.copy(), 0, array.shape)
        if self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115 - as long as the fit lasts
        offset = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(array).tobytes())
        return _Place(None, offset, array.shape)

    def _get(self, place: _Place) -> Matrix:
        if place.array is not None:
            return place.array
        assert self._file is not None
        self._file.seek(place.offset)
        n = int(np.prod(place.shape))
        return np.frombuffer(self._file.read(8 * n)).reshape(place.shape).copy()

    def _retold(self, entry: _Entry) -> list[Evaluation]:
        return [
            replace(
                seen,
                gradient=self._get(gradient).copy(),  # the caller may change it
                hessian=None if hessian is None else self._get(hessian).copy(),
            )
            for seen, (gradient, hessian) in zip(entry.seen, entry.arrays, strict=True)
        ]


_NOTHING: Vector = np.zeros(0)


def _same(one: Matrix, other: Matrix) -> bool:
    return one.shape == other.shape and one.tobytes() == other.tobytes()
