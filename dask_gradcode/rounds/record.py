"""What is left of a round."""

from __future__ import annotations

from dataclasses import dataclass

from dask_gradcode.codes import Decoding
from dask_gradcode.rounds.state import State
from dask_gradcode.typing import Mask, Vector

__all__ = ["InsufficientWorkersError", "RoundRecord"]


@dataclass(frozen=True, eq=False)
class RoundRecord:
    """What one round did.

    Parameters
    ----------
    round : int
        Its number, from 0.
    value : float
        The objective's value, as the solver sees it.
    grad_norm : float
        ``max |gradient|``, as the solver sees it.
    seconds : float
        From the start of the round until it had enough.
    arrived_at : ndarray of shape (n_messages,)
        Seconds after the start at which each message arrived, NaN if it never did. Messages that
        came too late for the round are entered when they come.
    used : ndarray of bool, shape (n_messages,)
        Which messages the sum was decoded from.
    late : tuple of int
        Workers that had not answered when the round ended, although they were asked.
    lost : tuple of int
        Workers that could not answer, or whose answer could not be right: dead, frozen, in error.
    residual : float
        ``max |weights @ B - 1|``: above rounding, the sum is approximate.
    amplification : float
        How much the decoding multiplied rounding errors.
    exact : bool
        Whether the sum is the exact one.
    restored : tuple of int
        Workers that had been lost and could answer again from this round on.
    spared : tuple of int
        Workers that were not asked, as the others were enough and in time.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> record = simulate(Uncoded(2), FixedDelay(3.0, workers=[1]), n_rounds=1)[0]
    >>> record.seconds, record.arrived_at, record.late
    (3.5, array([0.5, 3.5]), ())
    """

    round: int
    value: float
    grad_norm: float
    seconds: float
    arrived_at: Vector
    used: Mask
    late: tuple[int, ...]
    lost: tuple[int, ...]
    residual: float
    amplification: float
    exact: bool
    restored: tuple[int, ...] = ()
    spared: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        number: int,
        state: State,
        decoding: Decoding,
        seconds: float,
        value: float,
        grad_norm: float,
    ) -> RoundRecord:
        """Return the record of a round that has ended in this state."""
        lost = tuple(sorted(set(state.lost) | set(state.errors)))
        unasked = (role for role in state.ready() if role not in state.asked)
        spared = tuple(role for role in unasked if role not in lost)
        excused = {*lost, *spared}
        return cls(
            round=number,
            value=value,
            grad_norm=grad_norm,
            seconds=seconds,
            arrived_at=state.arrived_at,
            used=decoding.weights != 0.0,
            late=tuple(role for role in state.missing() if role not in excused),
            lost=lost,
            residual=decoding.residual,
            amplification=decoding.amplification,
            exact=state.decodable,
            restored=tuple(sorted(state.restored)),
            spared=spared,
        )


class InsufficientWorkersError(RuntimeError):
    """Too few workers are left to decode, or to hold the blocks; the text names who is missing.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import NeverAnswers
    >>> try:
    ...     simulate(Uncoded(4), NeverAnswers(workers=[2]))
    ... except InsufficientWorkersError as error:
    ...     print(error)
    Round 0 never ends: worker(s) 2 never answer.
    The code is Uncoded(n_workers=4).
    It tolerates 0 silent worker(s), whoever they are. Use a code with more n_stragglers.
    """
