"""What a round says to do next."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Ask", "Done", "Stuck", "Wait"]


@dataclass(frozen=True)
class Done:
    """Enough has arrived: ``round.result()`` is the sum.

    Examples
    --------
    >>> Done() == Done()
    True
    """


@dataclass(frozen=True)
class Wait:
    """Wait for the next event.

    Parameters
    ----------
    until : float, optional
        When to look again if nothing happens, in seconds on the caller's clock. None: no need to.

    Examples
    --------
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.rounds import Deadline, Round
    >>> Round(0, Uncoded(2), Deadline(0.5), started=10.0).feed(None, now=10.1)
    Wait(until=10.5)
    """

    until: float | None = None


@dataclass(frozen=True)
class Ask:
    """Ask a role for more messages in this round.

    Parameters
    ----------
    role : int
        The code worker.
    messages : tuple of int
        Indices in ``code.messages``.

    Examples
    --------
    A worker was lost, and its role is on another one now:

    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.rounds import Lost, Ready, Round, UntilExact
    >>> round_ = Round(0, Uncoded(2), UntilExact(), started=0.0)
    >>> round_.feed(Lost(1, "its process ended"), now=0.1)
    Stuck(missing=(0, 1))
    >>> round_.feed(Ready(1), now=0.2)
    Ask(role=1, messages=(1,))
    """

    role: int
    messages: tuple[int, ...]


@dataclass(frozen=True)
class Stuck:
    """What has arrived and what still can is not enough.

    Parameters
    ----------
    missing : tuple of int
        The roles of which a message has not arrived.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.rounds import Arrived, Lost, Round, UntilExact
    >>> round_ = Round(0, Uncoded(2), UntilExact(), started=0.0)
    >>> round_.feed(Arrived(0, 0, 0, np.zeros(2)), now=0.1)
    Wait(until=None)
    >>> round_.feed(Lost(1, "its process ended"), now=0.2)
    Stuck(missing=(1,))
    """

    missing: tuple[int, ...]
