"""What can happen in a round."""

from __future__ import annotations

from dataclasses import dataclass

from dask_gradcode.typing import Payload

__all__ = ["Arrived", "Event", "Failed", "Lost", "Ready", "Silent"]


@dataclass(frozen=True, eq=False)
class Arrived:
    """A message arrived.

    Parameters
    ----------
    round : int
        The number of the round that it answers.
    role : int
        The code worker that sent it.
    message : int
        Its index in ``code.messages``.
    payload : ndarray of shape (1 + n_parameters,) or Part
        The worker's combination of its block values, then of its block gradients.

    Examples
    --------
    >>> import numpy as np
    >>> event = Arrived(round=0, role=1, message=1, payload=np.array([3.0, 0.5]))
    >>> event.payload
    array([3. , 0.5])
    """

    round: int
    role: int
    message: int
    payload: Payload


@dataclass(frozen=True, eq=False)
class Failed:
    """Computing a message raised; it will not arrive in this round.

    Parameters
    ----------
    round : int
        The number of the round that it should have answered.
    role : int
        The code worker that should have sent it.
    message : int
        Its index in ``code.messages``.
    error : BaseException
        What was raised.

    Examples
    --------
    >>> Failed(round=0, role=1, message=1, error=ZeroDivisionError("division by zero")).error
    ZeroDivisionError('division by zero')
    """

    round: int
    role: int
    message: int
    error: BaseException


@dataclass(frozen=True)
class Lost:
    """A worker is gone, with all it had not yet sent.

    Parameters
    ----------
    role : int
        The code worker that it was.
    why : str
        What is known of it, for the texts of errors.

    Examples
    --------
    >>> Lost(role=1, why="its process ended")
    Lost(role=1, why='its process ended')
    """

    role: int
    why: str


@dataclass(frozen=True)
class Ready:
    """A role can answer again: its blocks are on a worker that lives.

    Parameters
    ----------
    role : int
        The code worker.

    Examples
    --------
    >>> Ready(role=1)
    Ready(role=1)
    """

    role: int


@dataclass(frozen=True)
class Silent:
    """A worker that is waited for gives no sign of life; it may be frozen, and may wake.

    Parameters
    ----------
    role : int
        The code worker.
    seconds : float
        For how long it has been silent; 0 when it has been heard from again.

    Examples
    --------
    >>> Silent(role=1, seconds=5.5)
    Silent(role=1, seconds=5.5)
    """

    role: int
    seconds: float


Event = Arrived | Failed | Lost | Ready | Silent
"""What can happen in a round."""
