"""What stands for witness and referee when a round is run again: what was found then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dask_gradcode.codes import GradientCode
from dask_gradcode.inspection import Doubt
from dask_gradcode.rounds.checked import SyndromeWitness
from dask_gradcode.rounds.events import Arrived
from dask_gradcode.rounds.hearing import Inquiry
from dask_gradcode.rounds.log import RoundLog, Step
from dask_gradcode.rounds.minutes import Checks, Minutes
from dask_gradcode.rounds.referee import Referee
from dask_gradcode.rounds.syndrome import SyndromeReferee, check_syndrome
from dask_gradcode.rounds.trust import Witness
from dask_gradcode.rounds.verified import Verification
from dask_gradcode.typing import Matrix, Payload, Vector

__all__ = ["Testimony", "witness_of"]


def witness_of(log: RoundLog) -> Witness:
    """Return what says of the answers of a round what was said of them then."""
    testimony = Testimony(log.steps)
    if log.minutes is None:
        return testimony
    if isinstance(log.minutes, Checks):
        return SyndromeWitness(testimony, _Rechecked(log.code, log.minutes), log.number)
    minutes = log.minutes
    referee = Referee(log.code, minutes.n_faulty, _Adjourned())
    referee.expelled |= minutes.expelled
    referee.given_up |= minutes.given_up
    digests = {which: list(several) for which, several in minutes.digests.items()}
    return _Recalled(testimony, referee, minutes, digests)


class Testimony:
    """Says of answers what was said of them then; stands for an inspector in a replay."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._doubts = {
            (step.event.role, step.event.message): step.doubts[0]
            for step in steps
            if step.doubts and isinstance(step.event, Arrived)
        }

    def doubt(self, role: int, message: int, payload: Payload) -> Doubt | None:
        return self._doubts.get((role, message))


@dataclass(frozen=True)
class _Recalled(Verification):
    """Knows of payloads that are not kept what was found of them."""

    found: Minutes
    digests: dict[tuple[int, int], list[bytes]]

    def digest(self, role: int, message: int, payload: Payload) -> bytes:
        return self.digests[role, message].pop(0)

    def minutes(self) -> Minutes:
        found = self.found
        return replace(super().minutes(), alike=dict(found.alike), close=dict(found.close))


class _Adjourned:
    """A court that hears nobody: its verdicts are events of the round."""

    def begin(self, round: int, w: Vector | Matrix, order: int) -> None:
        """Do nothing."""

    def inquire(self, round: int, message: int) -> Inquiry:
        raise NotImplementedError("a round that is run again asks nobody")

    def round_alike(self, one: int, other: int) -> bool:
        raise NotImplementedError("a round that is run again asks nobody")

    def where(self, role: int) -> str:
        return f"role {role}"


class _Rechecked(SyndromeReferee):
    """Finds of payloads that are not kept what was found of them."""

    def __init__(self, code: GradientCode, found: Checks) -> None:
        super().__init__(check_syndrome(code), "role {}".format)
        self.expelled |= found.expelled
        self.given_up |= found.given_up
        self._agreed, self._wrong = list(found.agreed), list(found.wrong)

    def agree(self, payloads: Mapping[int, Payload]) -> bool:
        return self._agreed.pop(0)

    def expel(self, round: int, payloads: Mapping[int, Payload]) -> tuple[int, ...]:
        wrong = self._wrong.pop(0)
        self.expelled |= wrong
        return tuple(wrong)
