"""What comes of a sum that stays with the role that has computed it."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Announced"]


@dataclass(frozen=True)
class Announced:
    """A role has computed a message and keeps it; only its digest has come.

    Parameters
    ----------
    round : int
        The number of the round that it answers.
    role : int
        The code worker that keeps it.
    message : int
        Its index in ``code.messages``.
    digest : bytes
        Of its payload, by ``dask_gradcode.work.account.digest_of``.

    Examples
    --------
    >>> Announced(round=0, role=1, message=0, digest=bytes(16))
    Announced(round=0, role=1, message=0)
    """

    round: int
    role: int
    message: int
    digest: bytes = field(repr=False)
