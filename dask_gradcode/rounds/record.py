"""What is left of a round."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from dask_gradcode.codes import Decoding, GradientCode
from dask_gradcode.rounds.answer import Answer
from dask_gradcode.rounds.state import State
from dask_gradcode.typing import Mask, Vector

__all__ = ["InsufficientWorkersError", "RoundRecord", "TooMuchLostError", "WrongSumsError"]


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
    n_workers : int
        How many workers there are.
    answers : list of Answer
        What has come from each role, in the order of arrival. Messages too late for the round
        are entered when they come.
    late : tuple of int
        Workers that had not answered when the round ended and that straggle, by the rule of
        ``rounds.lateness.Lateness``.
    lost : tuple of int
        Workers that could not answer any more, or gave an answer that could not be right: dead,
        frozen, in error.
    residual : float
        ``max |weights @ B - 1|``: above rounding, the sum is approximate.
    error : float
        ``|weights @ B - 1|^2 / n_blocks``: how much of the sum is missed, if blocks have nothing in
        common.
    amplification : float
        How much the decoding multiplied rounding errors.
    exact : bool
        Whether the sum is the exact one.
    restored : tuple of int
        Workers that had been lost and could answer again from this round on.
    spared : tuple of int
        Workers that were not asked, as the others were enough and in time. Each of them is also
        among ``not_needed`` or ``late``.
    not_needed : tuple of int
        Workers that had not answered when the round ended, as the others were enough, and of which
        nothing says that they straggle. Asked or spared.
    unplaced : tuple of int
        Workers that were not placed yet when the round ended.
    placed : tuple of int
        Workers that had not been placed yet and could answer from this round on.
    hurried : tuple of int
        Workers that were told to yield: to send what they had, and leave the rest to others.
    relocated : tuple of int
        Code workers that another worker of the cluster plays from this round on, without having
        been missed: the one before will leave, say, or had two roles.
    absent : tuple of int
        Messages that were lost on their way to the client.
    age : int
        Age in rounds of the oldest sum that stands in for a missing one; 0 where none does.
    drift : float
        ``max |drift|``, as the solver sees it: how far older sums may put an entry of the gradient
        off. 0 where none stands in.
    expelled : tuple of int
        Workers that sent a wrong sum, which was shown in this round. They are lost from then on.
    unverified : tuple of int
        Blocks with sums that were to be verified, and are not: too few workers are left to confirm
        them.

    Notes
    -----
    A role that had not answered in full when the round ended is one of four: not needed, not placed
    yet, late or lost.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> record = simulate(Uncoded(2), FixedDelay(3.0, workers=[1]), n_rounds=1)[0]
    >>> record.seconds, record.arrived_at, record.used, record.late
    (3.5, array([0.5, 3.5]), array([ True,  True]), ())
    """

    round: int
    value: float
    grad_norm: float
    seconds: float
    n_workers: int
    answers: list[Answer]
    late: tuple[int, ...]
    lost: tuple[int, ...]
    residual: float
    error: float
    amplification: float
    exact: bool
    restored: tuple[int, ...] = ()
    spared: tuple[int, ...] = ()
    not_needed: tuple[int, ...] = ()
    unplaced: tuple[int, ...] = ()
    placed: tuple[int, ...] = ()
    hurried: tuple[int, ...] = ()
    relocated: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()
    age: int = 0
    drift: float = 0.0
    expelled: tuple[int, ...] = ()
    unverified: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        number: int,
        state: State,
        decoding: Decoding,
        seconds: float,
        late: Collection[int],
        value: float,
        grad_norm: float,
        expelled: Collection[int] = (),
        unverified: Collection[int] = (),
    ) -> RoundRecord:
        """Return the record of a round that has ended in this state."""
        absent = state.lost.keys() | state.errors.keys()
        silent = set(state.unanswered(seconds)) - absent
        return cls(
            round=number,
            value=value,
            grad_norm=grad_norm,
            seconds=seconds,
            n_workers=state.code.n_workers,
            answers=state.answers,
            late=tuple(sorted(silent.intersection(late))),
            lost=tuple(sorted(absent - state.unplaced)),
            residual=decoding.residual,
            error=decoding.error,
            amplification=decoding.amplification,
            exact=state.decodable,
            restored=tuple(sorted(state.restored)),
            spared=tuple(sorted(silent - state.asked.keys())),
            not_needed=tuple(sorted(silent.difference(late))),
            unplaced=tuple(sorted(absent & state.unplaced)),
            placed=tuple(sorted(state.placed)),
            hurried=tuple(sorted(state.hurried)),
            relocated=tuple(sorted(state.relocated)),
            absent=tuple(sorted(state.absent)),
            expelled=tuple(sorted(set(expelled))),
            unverified=tuple(sorted(unverified)),
            age=max(
                (age for i, age in state.carried.ages.items() if not state.arrived[i]), default=0
            ),
        )

    @property
    def arrived_at(self) -> Vector:
        """Seconds after the start at which each worker's last message arrived, NaN if none did.

        Of shape (n_workers,).
        """
        last = np.full(self.n_workers, np.nan)
        for answer in self.answers:  # in the order of arrival
            last[answer.role] = answer.seconds
        return last

    @property
    def used(self) -> Mask:
        """Which workers the sum was decoded from, of shape (n_workers,)."""
        used: Mask = np.zeros(self.n_workers, dtype=bool)
        used[[answer.role for answer in self.answers if answer.used]] = True
        return used


class InsufficientWorkersError(RuntimeError):
    """Too few workers are left to decode, or to hold the blocks; the text names the missing ones.

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


class TooMuchLostError(InsufficientWorkersError):
    """So much was lost on the way in a round that its sum cannot be decoded; no worker is missing.

    The round can be tried again: links may lose less then.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.codes import CooperativeRepetition
    >>> from dask_gradcode.rounds import Absent, Arrived, Round
    >>> round_ = Round(0, CooperativeRepetition(2, 1, n_transmissions=1))
    >>> _ = round_.begin([], now=0.0)
    >>> _ = round_.handle(Arrived(0, 0, 0, np.zeros(2), blocks=(0,)), now=0.1)
    >>> _ = round_.handle(Absent(0, 1, 1), now=0.1)
    >>> print(TooMuchLostError.of(round_.number, round_.state))  # doctest: +ELLIPSIS
    Round 0 cannot be decoded: 1 message(s) were lost on their way, 1 came without some blocks.
    No worker is missing: the round can be tried again.
    The code is ...
    It tolerates ... Use a code with more n_transmissions or n_neighbours.
    """

    @classmethod
    def of(cls, number: int, state: State) -> TooMuchLostError:
        """Return the error of a round that has ended in this state."""
        code, n_absent, n_parts = state.code, len(state.absent), len(state.parts)
        return cls(
            f"Round {number} cannot be decoded: {n_absent} message(s) were lost on their way, "
            f"{n_parts} came without some blocks.\n"
            "No worker is missing: the round can be tried again.\n"
            f"The code is {code!r}.\n"
            f"It tolerates {code.tolerance}. Use a code with more n_transmissions or n_neighbours."
        )


class WrongSumsError(RuntimeError):
    """At least one of the sums that workers have sent is wrong; which one cannot be told.

    Nothing of the round has been used.

    Examples
    --------
    >>> from dask_gradcode.codes import CyclicRepetition
    >>> print(WrongSumsError.of(7, CyclicRepetition(4, 1), ["role 0", "role 1"]))
    Round 7: at least one of the sums is wrong that came from role 0, role 1; which one cannot be \
told.
    The code is CyclicRepetition(n_workers=4, n_stragglers=1, seed=0): any 3 answers are enough, \
one more shows that something is wrong, and to tell which takes 2 more than are enough for each \
that is wrong.
    Use a larger n_stragglers, so that more answers can come, or code='fractional' with verify=1, \
by which it is always told.
    """

    @classmethod
    def of(cls, number: int, code: GradientCode, who: Sequence[str]) -> WrongSumsError:
        """Return the error of a round, given the senders of what does not agree."""
        return cls(
            f"Round {number}: at least one of the sums is wrong that came from {', '.join(who)}; "
            "which one cannot be told.\n"
            f"The code is {code!r}: any {code.n_workers - code.n_stragglers} answers are enough, "
            "one more shows that something is wrong, and to tell which takes 2 more than are "
            "enough for each that is wrong.\n"
            "Use a larger n_stragglers, so that more answers can come, or code='fractional' with "
            "verify=1, by which it is always told."
        )
