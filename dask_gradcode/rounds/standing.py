"""Which roles play no part any more in a fit with verified sums."""

from __future__ import annotations

from collections.abc import Sequence

from dask_gradcode.rounds.events import Announced, Arrived, Event, Failed, Lost, Ready
from dask_gradcode.typing import Matrix, Vector

__all__ = ["Standing"]


class Standing:
    """Which roles are expelled, and which have been waited for in vain; one fit long.

    Attributes
    ----------
    expelled : dict of int to str
        Which roles are expelled, and why.
    given_up : set of int
        Roles that have been waited for in vain: later rounds do without them at once.

    Examples
    --------
    >>> import numpy as np
    >>> standing = Standing()
    >>> standing.expelled[2] = "it is expelled since round 0"
    >>> standing.begin(1, np.zeros(1), 1, [Ready(2)])
    [Lost(role=2, why='it is expelled since round 0')]
    """

    def __init__(self) -> None:
        self.expelled: dict[int, str] = {}
        self.given_up: set[int] = set()

    def begin(
        self, round: int, w: Vector | Matrix, order: int, news: Sequence[Event]
    ) -> list[Event]:
        """Begin a round, and return what has become of roles: an expelled one is lost."""
        for event in news:
            if isinstance(event, Ready):
                self.given_up.discard(event.role)
        kept = [event for event in news if not self.ignores(event)]
        lost = {event.role for event in kept if isinstance(event, Lost)}
        return [*kept, *(Lost(i, why) for i, why in self.expelled.items() if i not in lost)]

    def ignores(self, event: Event) -> bool:
        """Say whether an event is of a role that is expelled."""
        told = isinstance(event, Arrived | Announced | Failed | Ready)
        return told and event.role in self.expelled
