"""Has roles compute again what others have sent: by Dask tasks, beside the rounds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from dask_gradcode.cluster.asking import Asked
from dask_gradcode.cluster.court import Court
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.worker.accounts import Question, compute_again
from dask_gradcode.rounds.recount import Pending, Told, Wanted
from dask_gradcode.typing import Vector
from dask_gradcode.work import Work

__all__ = ["Bench"]


class Bench(Court):
    """A court for audits; one fit long.

    Parameters
    ----------
    data : Placement
        The data.
    work : Work
        What is computed on each block.

    Raises
    ------
    RuntimeError
        If two roles hold different rows of a block, and no two agree.
    """

    def __init__(self, data: Placement, work: Work) -> None:
        cut = work.per_column is not None and any(c is not None for c in data.columns.each())
        # of a share that is divided others hold parts, and see the columns of these
        self.wide = cut and data.code.divides
        super().__init__(data, work, 1, n_asked=1, wide=self.wide)

    @property
    def addresses(self) -> Mapping[int, str]:
        """Which worker plays each role."""
        return self._data.addresses

    def present(self) -> Collection[int]:
        """Return the roles that can be asked."""
        return self._data.shards.keys() & self._data.addresses.keys()

    def again(self, wanted: Mapping[Any, Wanted], recall: Callable[[int], None]) -> Pending:
        """Have roles compute messages again, by ticket; ``recall`` has a round begin again."""

        def args(ticket: Any) -> tuple[Question, Vector, list[int]]:
            round_, role, messages = wanted[ticket]
            recall(round_)
            question = self.question(round_, messages[0], seed=0)
            assert question is not None  # it has just been begun
            return question, self.point(round_, role), list(messages)

        roles = {ticket: one.role for ticket, one in wanted.items()}
        return _Pending(self, wanted, recall, Asked(self._data, compute_again, roles, args))


class _Pending:
    def __init__(
        self,
        court: Court,
        wanted: Mapping[Any, Wanted],
        recall: Callable[[int], None],
        asked: Asked,
    ) -> None:
        self._court, self._wanted, self._recall, self._asked = court, wanted, recall, asked

    def look(self, timeout: float = 0.0) -> bool:
        return self._asked.look(timeout)

    def told(self, ticket: Any) -> Told:
        payloads = self._asked.told.get(ticket, "it has not answered")
        if not isinstance(payloads, list):
            return str(payloads)
        round_, role, messages = self._wanted[ticket]
        self._recall(round_)
        received = (self._court.received(round_, role, payload) for payload in payloads)
        return dict(zip(messages, received, strict=True))

    def close(self) -> None:
        self._asked.close()
