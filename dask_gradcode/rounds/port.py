"""Where rounds meet the world: what an engine asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from dask_gradcode.rounds.events import Event, News
from dask_gradcode.rounds.orders import Order
from dask_gradcode.rounds.patience import Patience
from dask_gradcode.rounds.round import Round
from dask_gradcode.typing import Matrix, Vector

__all__ = ["Port"]


class Port(Protocol):
    """Where rounds meet the world. One thread calls it.

    Examples
    --------
    A world of one worker, which answers at once; :class:`Engine` runs rounds in it:

    >>> import numpy as np
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.rounds import Arrived, Engine, Patience
    >>> class Alone:
    ...     def now(self):
    ...         return 0.0
    ...     def patience(self):
    ...         return Patience()
    ...     def begin(self, round, w, order):
    ...         self.round, self.w, self.coming = round, w, []
    ...         return []
    ...     def send(self, orders):
    ...         payload = np.array([self.w @ self.w, *(2 * self.w)])
    ...         self.coming = [Arrived(self.round, 0, 0, payload) for _ in orders]
    ...     def events(self, until):
    ...         return self.coming
    ...     def reached(self):
    ...         return {0: 0.0}
    ...     def explain(self, round):
    ...         return RuntimeError(f"{round.outcome}")
    >>> Engine(Uncoded(1), Alone())(np.array([3.0])).gradient
    array([6.])
    """

    def now(self) -> float:
        """Return the time in seconds."""
        ...

    def patience(self) -> Patience:
        """Return how long a round waits for the workers without which it cannot end."""
        ...

    def begin(self, round: int, w: Vector | Matrix, order: int) -> Sequence[News]:
        """Begin a round, which supersedes every older one; say which roles are gone or back.

        Parameters
        ----------
        round : int
            Its number.
        w : ndarray of shape (n_parameters,) or (n_points, n_parameters)
            The point, or the points: their payloads then come abreast.
        order : {1, 2}
            Up to which order derivatives are wanted.

        Returns
        -------
        sequence of Lost, Unplaced, Ready or Relocated
            Roles that are absent, that have come back, or that are on another worker.
        """
        ...

    def send(self, orders: Sequence[Order]) -> None:
        """Do what the round wants done."""
        ...

    def events(self, until: float | None) -> Sequence[Event]:
        """Return what has happened, after waiting for something; nothing, if time is up.

        Parameters
        ----------
        until : float, optional
            When time is up, on the clock of ``now``. None: never.
        """
        ...

    def reached(self) -> Mapping[int, float]:
        """Return when each role got the ``w`` of this round; the others have not got it."""
        ...

    def explain(self, round: Round) -> BaseException:
        """Return the error of a round that has ended without a sum."""
        ...
