"""What looks at the answers of a round: nothing, a comparison of sums, or the syndrome."""

from __future__ import annotations

from dask_gradcode.codes import GradientCode
from dask_gradcode.inspection import Inspector
from dask_gradcode.rounds.checked import CheckedAnswers, SyndromeWitness
from dask_gradcode.rounds.referee import Referee
from dask_gradcode.rounds.state import State
from dask_gradcode.rounds.syndrome import SyndromeReferee
from dask_gradcode.rounds.trust import Answers, Witness
from dask_gradcode.rounds.verified import Verification, VerifiedAnswers

__all__ = ["answers_by", "witness_by"]


def witness_by(
    referee: Referee | SyndromeReferee | None, inspector: Inspector, round: int
) -> Witness:
    """Return what looks at the answers of a round, as a referee wants them to be looked at."""
    match referee:
        case None:
            return inspector
        case SyndromeReferee():
            return SyndromeWitness(inspector, referee, round)
        case _:
            return Verification(inspector, referee)


def answers_by(code: GradientCode, state: State, witness: Witness) -> Answers:
    """Return the answers of a round, as a witness wants them to be looked at."""
    if isinstance(witness, SyndromeWitness):
        return CheckedAnswers(code, state, witness)
    if isinstance(witness, Verification):
        return VerifiedAnswers(code, state, witness)
    return Answers(code, state, witness)
