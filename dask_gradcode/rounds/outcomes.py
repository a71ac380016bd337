"""How a round can end."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Contradicted", "Done", "Outcome", "Overdue", "Stuck"]


@dataclass(frozen=True)
class Done:
    """Enough has arrived: ``round.result()`` is the sum.

    Examples
    --------
    >>> Done() == Done()
    True
    """


@dataclass(frozen=True)
class Stuck:
    """What has arrived and what still can is not enough, and nobody came back in time.

    Parameters
    ----------
    missing : tuple of int
        The roles with a message that has not arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.rounds import Arrived, Lost, Round
    >>> round_ = Round(0, Uncoded(2))
    >>> _ = round_.begin([], now=0.0)
    >>> _ = round_.handle(Arrived(0, 0, 0, np.zeros(2)), now=0.1)
    >>> _ = round_.handle(Lost(1, "its process ended"), now=0.2)
    >>> round_.outcome
    Stuck(missing=(1,))
    """

    missing: tuple[int, ...]


@dataclass(frozen=True)
class Overdue:
    """Workers live and are needed, but nothing has come from them for too long.

    Parameters
    ----------
    missing : tuple of int
        The roles with a message that has not arrived.
    seconds : float
        For how long nothing had come.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.rounds import Patience, Round
    >>> round_ = Round(0, Uncoded(1), patience=Patience(answer=3600.0))
    >>> _ = round_.begin([], now=0.0)
    >>> _ = round_.handle(None, now=3600.0)
    >>> round_.outcome
    Overdue(missing=(0,), seconds=3600.0)
    """

    missing: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Contradicted:
    """Something that was sent is wrong, and it cannot be told what.

    Parameters
    ----------
    roles : tuple of int
        The roles with answers that do not agree.

    Examples
    --------
    >>> Contradicted(roles=(0, 1, 2))
    Contradicted(roles=(0, 1, 2))
    """

    roles: tuple[int, ...]


Outcome = Done | Stuck | Overdue | Contradicted
"""How a round can end."""
