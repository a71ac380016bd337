"""Which referee says which sums of a placement are believed."""

from __future__ import annotations

import numpy as np
from dask.utils import parse_bytes

from dask_gradcode.cluster.bench import Bench
from dask_gradcode.cluster.client.config import setting
from dask_gradcode.cluster.court import Court
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.codes import GradientCode
from dask_gradcode.inspection import AGREEMENT
from dask_gradcode.rounds import Confirming, Everybody, Policy, UntilExact, WaitRule
from dask_gradcode.rounds.audit import AUDIT, check_audit
from dask_gradcode.rounds.auditing import Auditing
from dask_gradcode.rounds.referee import Referee, check_verify
from dask_gradcode.rounds.syndrome import SYNDROME, SyndromeReferee, check_syndrome
from dask_gradcode.work import Work
from dask_gradcode.work.judging import ROUNDING

__all__ = ["audit_of", "check_verifying", "referee_of"]


def check_verifying(
    verify: int | str, code: GradientCode, wait: WaitRule, plan: Policy | None
) -> None:
    """Raise ValueError if sums cannot be verified as is wanted."""
    if verify == AUDIT:
        check_audit(code)
    elif verify == SYNDROME:
        check_syndrome(code)
    elif check_verify(code, verify) == 0:
        return
    if not isinstance(wait, UntilExact):
        raise ValueError(
            f"verify={verify!r} needs exact sums, which wait={wait!r} does not give. "
            "Leave wait out, or use verify=0."
        )
    fitting = (Everybody,) if verify == SYNDROME else (Everybody, Confirming)
    if verify != AUDIT and not isinstance(plan, (*fitting, type(None))):
        names = " or ".join(f"{kind.__name__}()" for kind in fitting)
        raise ValueError(
            f"verify={verify!r} needs more answers than a sum takes, and {plan!r} asks for no "
            f"more. Leave the plan out, or use {names}."
        )


def audit_of(data: Placement, work: Work, verify: int | str) -> Auditing | None:
    """Return the audit that has sums computed again beside the rounds; None if there is none.

    Parameters
    ----------
    data : Placement
        The data.
    work : Work
        What is computed on each block.
    verify : int, "audit" or "syndrome"
        As of :class:`~dask_gradcode.cluster.ClusterObjective`.
    """
    if verify != AUDIT:
        return None
    return Auditing(data.code, Bench(data, work), parse_bytes(setting("gradcode.audit.memory")))


def referee_of(
    data: Placement, work: Work, verify: int | str, audit: Auditing | None
) -> Referee | SyndromeReferee | None:
    """Return the referee of what is believed and of who is expelled; None if all is believed.

    Parameters
    ----------
    data : Placement
        The data.
    work : Work
        What is computed on each block.
    verify : int, "audit" or "syndrome"
        As of :class:`~dask_gradcode.cluster.ClusterObjective`.
    audit : Auditing or None
        What ``audit_of`` has returned.
    """
    if audit is not None:
        return audit.recounting.referee
    if verify == SYNDROME:
        rounding = AGREEMENT if data.roles.meta.dtype == np.float32 else ROUNDING

        def where(role: int) -> str:
            return f"role {role} on {data.addresses[role]}"

        return SyndromeReferee(data.code, where, rounding)
    n_faulty = check_verify(data.code, verify)
    return Referee(data.code, n_faulty, Court(data, work, n_faulty)) if n_faulty else None
