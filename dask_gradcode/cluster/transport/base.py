"""The contract between the client's rounds and whatever carries ``w`` out and messages back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from distributed import Future

from dask_gradcode.rounds import Event
from dask_gradcode.typing import Vector

__all__ = ["Transport"]


class Transport(Protocol):
    """Carries ``w`` to the roles and their messages back.

    One thread calls it. It never raises for what goes wrong on a worker: that is an event. Answers
    carry the number of their round, and answers to older rounds may still come.
    """

    name: str

    def attach(self, role: int, shard: Future[Any], address: str) -> None:
        """Bind a role to the worker that holds its shard."""
        ...

    def detach(self, role: int) -> None:
        """Unbind a role and drop what it was asked."""
        ...

    def begin(
        self,
        round: int,
        w: Vector,
        asks: Mapping[int, Sequence[int]],
        n_likely: int | None = None,
        wait: float = 0.0,
    ) -> None:
        """Start a round, which supersedes every older one; ``w`` may go out with the next ``poll``.

        Parameters
        ----------
        round : int
            Its number, larger than all before.
        w : ndarray of shape (n_parameters,)
            The point; copied, so the caller may change it afterwards.
        asks : mapping of int to sequence of int
            For each attached role, which messages it shall compute, in order. Roles are served in
            the order of this mapping.
        n_likely : int, optional
            So many of them, the first ones, are likely to be enough. None: nothing is known.
        wait : float, default=0.0
            The others may get ``w`` so many seconds later, unless one of the first is lost.
        """
        ...

    def spared(self) -> Collection[int]:
        """Return the roles that have not got the current ``w``.

        Nobody has needed them yet, or they have left several rounds unanswered and get none before
        they have answered an older one.
        """
        ...

    def ask(self, role: int, messages: Sequence[int]) -> None:
        """Ask a role for more messages in the current round."""
        ...

    def poll(self, timeout: float | None) -> Sequence[Event]:
        """Return what has happened, after waiting for something or ``timeout`` seconds."""
        ...

    def wake(self) -> None:
        """Let a waiting ``poll`` return; the only method for any thread."""
        ...

    def close(self) -> None:
        """Drop everything: nothing stays on the workers."""
        ...
