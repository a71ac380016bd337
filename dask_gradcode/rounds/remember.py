"""A wait rule by which older sums stand in for what is late."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from statistics import median_low

import numpy as np

from dask_gradcode.codes import Decoding, GradientCode
from dask_gradcode.rounds.memory import Memory
from dask_gradcode.rounds.rules import WaitRule
from dask_gradcode.rounds.state import State

__all__ = ["Remember"]

_AT_LEAST = 5e-3
"""Seconds for which anybody is waited for beyond the usual time: an operating system takes less
from a process now and then."""


@dataclass(frozen=True)
class Remember(WaitRule):
    """Let the last sum over the same rows stand in for one that is late.

    A worker that is late finishes what it has begun, so that there is something to remember: it
    gets the newest point after that, and its sum is then some rounds old. Of such a sum the
    gradient is taken as it is, and the value along it. No rows need to be held twice.

    The sum of a round is then approximate, and solvers know by how much: from how fast each sum has
    changed, and how old it is. Where that is more than half of the gradient, where a line search
    fails, and before a fit ends, they ask for an exact round. So a fit ends at the same optimum as
    by exact rounds [1]_ [2]_.

    Parameters
    ----------
    factor : float, default=1.5
        For how many times the usual time of this round, which is the median, workers are waited
        for. A worker that was slower than that when it last answered is not.
    max_age : int, default=16
        How many rounds old a sum may be. Older ones are waited for.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Takes codes with messages that are plain sums and have no block in common: ``Uncoded`` and
    ``FractionalRepetition``. Solvers that put gradients of several points together, L-BFGS and
    Newton's method, need exact sums. The client keeps two payloads of each message.

    References
    ----------
    .. [1] Severinson, Rosnes, El Rouayheb and Graell i Amat, "DSAG: A Mixed
       Synchronous-Asynchronous Iterative Method for Straggler-Resilient Learning", IEEE
       Transactions on Communications 71, 2023: sums that stand in, and workers that finish.
    .. [2] Byrd, Chin, Nocedal and Wu, "Sample size selection in optimization methods for machine
       learning", Mathematical Programming 134, 2012: the test against half of the gradient.

    Examples
    --------
    Worker 3 takes eight times as long as the others, and holds them up in the first two rounds.
    After that they do without it, and its sums are up to 15 rounds old:

    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import Slowdown
    >>> history = simulate(Uncoded(4), Slowdown(8.0, workers=[3]), wait=Remember(), n_rounds=100)
    >>> history.columns["seconds"][:4], max(history.columns["age"])
    ([2.0, 2.0, 0.25, 0.25], 15)
    """

    factor: float = 1.5
    max_age: int = 16

    def __post_init__(self) -> None:
        if not isinstance(self.factor, Real) or not 1 <= self.factor < inf:
            raise ValueError(f"Remember needs a factor in the range [1, inf), got {self.factor!r}.")
        whole = isinstance(self.max_age, Integral) and not isinstance(self.max_age, bool)
        if not whole or self.max_age < 1:
            raise ValueError(
                f"Remember needs max_age, an int in the range [1, inf), got {self.max_age!r}."
            )

    def settle(self, state: State, now: float) -> Decoding | None:
        if state.decodable:
            return state.decode()
        if not state.arrived.any() or self._needed(state):
            return None
        due = self._due(state)
        return state.decode() if due is None or now >= due else None

    def look_at(self, state: State) -> float | None:
        due = self._due(state) if state.carried.ages else None
        return None if due == inf else due

    def hopeless(self, state: State) -> bool:
        if not state.arrived.any() and not state.pending.any():
            return True
        return any(not state.pending[message] for message in self._needed(state))

    def memory(self, code: GradientCode) -> Memory:
        return Memory(code, self.factor)

    def check(self, code: GradientCode) -> None:
        blocks = [block for message in code.messages for block in message.blocks]
        ones = all(set(message.coefficients) == {1.0} for message in code.messages)
        plain = ones and code.resolution == 1
        if not plain or sorted(blocks) != list(range(code.n_blocks)):
            raise ValueError(
                "Remember needs messages that are plain sums with no block in common, as old ones "
                f"stand in for their rows; {code!r} has others. Use code='uncoded' or "
                "code='fractional', or wait='exact'."
            )

    def _needed(self, state: State) -> list[int]:
        """Return the missing messages for which nothing young enough stands in."""
        missing, ages = np.flatnonzero(~state.arrived).tolist(), state.carried.ages
        return [message for message in missing if ages.get(message, inf) > self.max_age]

    def _due(self, state: State) -> float | None:
        """Return until when somebody is waited for; None for nobody, inf while half are missing."""
        asked, ledger, slow = state.asked, state.ledger, state.carried.slow
        awaited = [
            role
            for role in asked.keys() - slow - state.lost.keys()
            if any(not state.arrived[message] for message in state.owed(role))
        ]
        if not awaited:
            return None
        took = [
            state.started + answer.seconds - ledger.asked_at[answer.role]
            for answer in state.answers
            if answer.role in asked and answer.role not in slow
        ]
        wanted = {m for role in awaited for m in state.owed(role) if not state.arrived[m]}
        if not took or np.count_nonzero(state.arrived) < len(wanted):
            return inf
        usual = median_low(took)
        time = usual + max((self.factor - 1.0) * usual, _AT_LEAST)
        return max(ledger.asked_at[role] for role in awaited) + time
