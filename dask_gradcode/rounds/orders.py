"""What a round wants done."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Ask", "Order"]


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


Order = Ask
"""What a round can want done."""
