"""Whether what workers send can be verified as is wished, before any work."""

from __future__ import annotations

from dask_gradcode.codes import GradientCode
from dask_gradcode.rounds import Everybody, Policy, UntilExact, WaitRule
from dask_gradcode.rounds.audit import check_audit, is_audit
from dask_gradcode.rounds.referee import check_verify

__all__ = ["check_verifying"]


def check_verifying(
    verify: int | str, code: GradientCode, wait: WaitRule, plan: Policy | None
) -> int:
    """Return how many faulty workers each sum is compared for, or raise if that cannot be done.

    Parameters
    ----------
    verify : int or "audit"
        What is wished.
    code : GradientCode
        How the sum is coded.
    wait : WaitRule
        When a round has enough messages.
    plan : Policy or None
        Who is asked.

    Raises
    ------
    ValueError
        If code, rule or plan do not fit it.

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> check_verifying("audit", FractionalRepetition(4, 1), UntilExact(), None)
    0
    """
    if is_audit(verify):
        check_audit(code)
        n_faulty = 0
    else:
        n_faulty = check_verify(code, verify)
        if not n_faulty:
            return 0
    if not isinstance(wait, UntilExact):
        raise ValueError(f"verify={verify!r} needs exact sums, which wait={wait!r} does not give.")
    if n_faulty and not isinstance(plan, Everybody | None):
        raise ValueError(
            f"verify={verify} needs several answers to each sum, and {plan!r} asks for one. "
            "Leave the plan out, or use Everybody()."
        )
    return n_faulty
