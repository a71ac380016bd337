"""Which roles to believe in a fit with payloads that have a syndrome: by what they share.

No two workers send the same sum of a cyclic code, but of ``n - s`` sums all others follow. So one
answer more than decoding needs tells whether something is wrong, and further ones tell what.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from dask_gradcode.codes import CyclicRepetition, GradientCode
from dask_gradcode.codes.locating import locate
from dask_gradcode.codes.parity import ParityChecks
from dask_gradcode.rounds.orders import Order
from dask_gradcode.rounds.standing import Standing
from dask_gradcode.typing import Payload

__all__ = ["SYNDROME", "SyndromeReferee", "check_syndrome"]

logger = logging.getLogger("dask_gradcode")

SYNDROME = "syndrome"
"""What ``verify`` is, where sums are verified so."""


def check_syndrome(code: GradientCode) -> CyclicRepetition:
    """Return a code whose payloads have a syndrome; raise ValueError of any other.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> check_syndrome(FractionalRepetition(4, 1))
    Traceback (most recent call last):
    ValueError: verify='syndrome' needs CyclicRepetition, whose sums follow from each other, got \
FractionalRepetition(n_workers=4, n_stragglers=1).
    Use code='cyclic' with n_stragglers=2 or more, or verify=1 with code='fractional'.
    """
    ways_out = "Use code='cyclic' with n_stragglers=2 or more, or verify=1 with code='fractional'."
    if not isinstance(code, CyclicRepetition):
        raise ValueError(
            f"verify='{SYNDROME}' needs CyclicRepetition, whose sums follow from each other, got "
            f"{code!r}.\n{ways_out}"
        )
    if not code.n_stragglers:
        raise ValueError(
            f"verify='{SYNDROME}' needs more answers than decoding does, and of {code!r} all are "
            f"needed.\n{ways_out}"
        )
    return code


class SyndromeReferee(Standing):
    """Knows for a fit which roles are expelled, and whether payloads agree.

    Parameters
    ----------
    code : CyclicRepetition
        How the sum is coded.
    where : callable
        Says in a few words which worker plays a role.
    rounding : float, default=1e-8
        As of :class:`~dask_gradcode.codes.parity.ParityChecks`.
    """

    def __init__(
        self, code: GradientCode, where: Callable[[int], str], rounding: float = 1e-8
    ) -> None:
        super().__init__()
        self._code = check_syndrome(code)
        self._where, self._checks = where, ParityChecks(self._code, rounding)
        self._norms: dict[int, float] = {}  # the largest that was believed, by a payload's size

    # ---- for the engine

    @property
    def compares(self) -> bool:
        """Whether a sum needs the answers of several: here always."""
        return True

    def settle(self, told: object, current: object, now: Callable[[], float]) -> list[Order]:
        """Do nothing: nobody is asked how it came to what it sent."""
        return []

    # ---- for the answers of a round

    @property
    def n_checked(self) -> int:
        """How many payloads it takes to see whether one is wrong."""
        return self._code.n_workers - self._code.n_stragglers + 1

    def agree(self, payloads: Mapping[int, Payload]) -> bool:
        """Say whether payloads agree; if there are enough to tell, and they do, remember that."""
        size = next(iter(payloads.values())).size
        known = self._norms.get(size, 0.0)
        if not self._checks.agree(payloads, known):
            return False
        if len(payloads) >= self.n_checked:
            self._norms[size] = max(known, self._checks.norm(payloads))
        return True

    def expel(self, round: int, payloads: Mapping[int, Payload]) -> tuple[int, ...]:
        """Expel the roles with wrong payloads, and return them; none if that is unknown.

        Parameters
        ----------
        round : int
            The round's number.
        payloads : mapping of int to ndarray or Part
            By role, which do not agree.
        """
        size = next(iter(payloads.values())).size
        found = locate(self._checks, payloads, self._norms.get(size, 0.0)) or ()
        for role in found:
            why = f"what it sent does not follow from what {len(payloads) - len(found)} others sent"
            self.expelled[role] = f"it is expelled since round {round}: {why}"
            blocks = list(self._code.blocks_of(role))
            logger.warning(
                "Round %d, blocks %s: %s is expelled: %s.", round, blocks, self._where(role), why
            )
        return found
