"""The contract between the client's rounds and whatever carries ``w`` out and messages back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from distributed import Future

from dask_gradcode.rounds import Event
from dask_gradcode.typing import Matrix, Vector

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

    def prepare(self, role: int, shard: Future[Any], address: str) -> bool:
        """Get ready to attach a role elsewhere than it is; say whether that can be done at once."""
        ...

    def detach(self, role: int) -> None:
        """Unbind a role and drop what it was asked."""
        ...

    def begin(self, round: int, w: Vector | Matrix, order: int) -> None:
        """Start a round, which supersedes every older one.

        Parameters
        ----------
        round : int
            Its number, larger than all before.
        w : ndarray of shape (n_parameters,) or (n_points, n_parameters)
            The point, or the points; copied, so the caller may change it afterwards.
        order : {1, 2}
            Up to which order derivatives are wanted.
        """
        ...

    def ask(self, role: int, messages: Sequence[int]) -> None:
        """Ask a role for messages of the current round, with the first of them for its ``w``."""
        ...

    def announce(self, role: int, messages: Sequence[int]) -> None:
        """Ask a role for the digests of messages, which it keeps as long as the round goes on."""
        ...

    def yield_(self, role: int) -> None:
        """Have a role send what it has finished of the round, and give up what it has not begun.

        A transport that cannot tell a worker in mid-message does nothing.
        """
        ...

    def drop(self, role: int, messages: Sequence[int]) -> None:
        """Have a role give up messages of the round that it was asked for, if it still can."""
        ...

    def withheld(self) -> Collection[int]:
        """Return the roles that get what they are asked for only once they answer an older ask."""
        ...

    def in_tasks(self) -> Collection[int]:
        """Return the roles that answer only once their workers begin a task."""
        ...

    def poll(self, timeout: float | None) -> Sequence[Event]:
        """Return what has happened, after waiting for something or ``timeout`` seconds."""
        ...

    def close(self) -> None:
        """Drop everything: nothing stays on the workers."""
        ...
