"""What a round wants done."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Announce", "Ask", "Drop", "Order", "Yield"]


@dataclass(frozen=True)
class Ask:
    """Ask a role for messages of this round.

    Parameters
    ----------
    role : int
        The code worker.
    messages : tuple of int
        Indices in ``code.messages``, in the order in which they shall be computed.

    Examples
    --------
    A worker was lost, and its role is on another one now:

    >>> from dask_gradcode.codes import Uncoded
    >>> from dask_gradcode.rounds import Lost, Patience, Ready, Round
    >>> round_ = Round(0, Uncoded(2), patience=Patience(recover=60.0))
    >>> round_.begin([], now=0.0)
    [Ask(role=0, messages=(0,)), Ask(role=1, messages=(1,))]
    >>> round_.handle(Lost(1, "its process ended"), now=0.1)
    []
    >>> round_.handle(Ready(1), now=0.2)
    [Ask(role=1, messages=(1,))]
    """

    role: int
    messages: tuple[int, ...]


@dataclass(frozen=True)
class Yield:
    """Have a role send what it has finished of this round, and give up what it has not begun.

    It answers with :class:`~dask_gradcode.rounds.Yielded`, where its transport can tell it.

    Parameters
    ----------
    role : int
        The code worker.

    Examples
    --------
    >>> Yield(role=1)
    Yield(role=1)
    """

    role: int


@dataclass(frozen=True)
class Drop:
    """Have a role give up messages of this round, as others have sent them; it may be too late.

    Parameters
    ----------
    role : int
        The code worker.
    messages : tuple of int
        Indices in ``code.messages`` of messages that it was asked for.

    Examples
    --------
    >>> Drop(role=1, messages=(18,))
    Drop(role=1, messages=(18,))
    """

    role: int
    messages: tuple[int, ...]


@dataclass(frozen=True)
class Announce:
    """Have a role compute messages of this round, keep them, and tell only their digests.

    It answers with :class:`~dask_gradcode.rounds.Announced`. Asked for one of them later in the
    round, it sends what it has kept.

    Parameters
    ----------
    role : int
        The code worker.
    messages : tuple of int
        Indices in ``code.messages``, in the order in which they shall be computed.

    Examples
    --------
    >>> Announce(role=1, messages=(0,))
    Announce(role=1, messages=(0,))
    """

    role: int
    messages: tuple[int, ...]


Order = Ask | Yield | Drop | Announce
"""What a round can want done."""
