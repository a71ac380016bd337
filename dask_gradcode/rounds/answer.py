"""What has come of a role, for records."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Answer"]


class Answer(NamedTuple):
    """One message that one role has sent.

    Parameters
    ----------
    role : int
        The role that sent it.
    message : int
        Its index in ``code.messages``.
    seconds : float
        When it came, after the start of the round.
    used : bool
        Whether the sum was decoded from this answer.

    Examples
    --------
    Both workers answer, and the sum was decoded from what worker 0 sent first:

    >>> from dask_gradcode.codes import FractionalRepetition
    >>> from dask_gradcode.rounds import Everybody
    >>> from dask_gradcode.simulation import simulate
    >>> from dask_gradcode.stragglers import FixedDelay
    >>> late = FixedDelay(2.0, workers=[1, 3])
    >>> record = simulate(FractionalRepetition(4, 1), late, plan=Everybody(), n_rounds=1)[0]
    >>> record.answers[0]
    Answer(role=0, message=0, seconds=0.5, used=True)
    """

    role: int
    message: int
    seconds: float
    used: bool = False
