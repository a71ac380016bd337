"""How data is placed so that what workers send can be verified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
)
from dask_gradcode.codes.auto import AUTO, CODES
from dask_gradcode.history import History
from dask_gradcode.rounds import TakenBackError, UntilExact, WaitRule
from dask_gradcode.rounds.audit import AUDIT, check_audit
from dask_gradcode.rounds.journal import to_the_end
from dask_gradcode.rounds.referee import check_verify
from dask_gradcode.rounds.syndrome import SYNDROME, check_syndrome
from dask_gradcode.rounds.verdicts import Discovery
from dask_gradcode.typing import Evaluation, Objective, Vector

__all__ = ["check_coding", "coding", "explained", "found_by", "once", "refuse_audit"]


def coding(model: Any) -> dict[str, Any]:
    """Return a code and how many silent workers it tolerates, as an estimator wants to place data.

    Where it verifies, ``"auto"`` is fractional repetition with as many replicas as that needs; by
    the syndrome it is cyclic repetition, of which one wrong sum can be located. Where it audits, it
    is declustered repetition: also of few rows, and for any number of workers.

    Examples
    --------
    >>> from dask_gradcode import CodedLogisticRegression
    >>> coding(CodedLogisticRegression(verify=2))
    {'code': 'fractional', 'n_stragglers': 2}
    >>> coding(CodedLogisticRegression(verify="syndrome"))
    {'code': 'cyclic', 'n_stragglers': 2}
    >>> coding(CodedLogisticRegression(n_stragglers=1))
    {'code': 'auto', 'n_stragglers': 1}
    """
    code, n_stragglers = model.code, model.n_stragglers
    if model.verify == AUDIT:
        return {"code": "declustered" if code == AUTO else code, "n_stragglers": n_stragglers}
    if model.verify and isinstance(code, str):
        usual, n_usual = ("cyclic", 2) if model.verify == SYNDROME else ("fractional", model.verify)
        code = usual if code == AUTO else code
        n_stragglers = n_usual if n_stragglers is None else n_stragglers
    return {"code": code, "n_stragglers": n_stragglers}


@contextmanager
def explained(model: Any) -> Iterator[None]:
    """Have an error over a code's stragglers say that nobody but ``verify`` has asked for them."""
    try:
        yield
    except ValueError as error:
        n_stragglers = coding(model)["n_stragglers"]
        if model.n_stragglers is None and f"n_stragglers={n_stragglers}" in str(error):
            error.add_note(
                f"n_stragglers was not given: verify={model.verify!r} makes it {n_stragglers}. "
                "n_workers says how many of the cluster's workers take part, if not all."
            )
        raise


def check_coding(model: Any, wait: WaitRule) -> None:
    """Raise ValueError if an estimator's code or wait rule cannot carry what it verifies."""
    verify, wanted = model.verify, coding(model)
    if isinstance(verify, bool | np.bool_):
        raise ValueError(
            f"verify is how many workers may be faulty, got {verify!r}. Use verify=1, or verify=0."
        )
    if not verify:
        return
    if not isinstance(wait, UntilExact):
        raise ValueError(
            f"verify={verify!r} needs exact sums, which wait={wait!r} does not give. "
            "Use wait='exact', or verify=0."
        )
    code, n_stragglers = wanted["code"], wanted["n_stragglers"]
    if verify == AUDIT:
        _check_audited(code, n_stragglers)
    elif verify == SYNDROME:
        _check_cyclic(code, n_stragglers)
    elif isinstance(code, GradientCode):
        check_verify(code, verify)
    elif CODES[code] is not FractionalRepetition:
        raise ValueError(
            f"verify={verify} needs a code by which several workers send the same messages, which "
            f"code={code!r} is not. Use code='fractional', or verify=0"
            + {
                "cyclic": "; verify='syndrome' is for code='cyclic'.",
                "declustered": "; verify='audit' is for code='declustered'.",
            }.get(code, ".")
        )
    elif n_stragglers < verify:
        raise ValueError(
            f"verify={verify} needs {verify + 1} workers that hold the same rows, and "
            f"n_stragglers={n_stragglers} gives {n_stragglers + 1}. "
            f"Use n_stragglers={verify} or more, or verify={n_stragglers}."
        )


def _check_cyclic(code: Any, n_stragglers: int) -> None:
    """Raise ValueError if the sums of a code have no syndrome."""
    if isinstance(code, GradientCode):
        check_syndrome(code)
    elif CODES[code] is not CyclicRepetition or n_stragglers < 1:
        raise ValueError(
            f"verify='{SYNDROME}' needs a cyclic code with more answers than decoding needs, got "
            f"code={code!r} and n_stragglers={n_stragglers}. Use code='cyclic' with n_stragglers=2 "
            "or more, or verify=1 with code='fractional'."
        )


def _check_audited(code: str | GradientCode, n_stragglers: int | None) -> None:
    """Raise ValueError if nobody could compute again what a worker sends."""
    if isinstance(code, GradientCode):
        check_audit(code)
    elif CODES[code] not in (DeclusteredRepetition, FractionalRepetition):
        raise ValueError(
            "verify='audit' needs a code by which others can compute what a worker sends, or all "
            f"parts of it, which code={code!r} is not. Use code='auto', 'declustered' or "
            "'fractional', or verify=0."
        )
    elif n_stragglers == 0:
        raise ValueError(
            "verify='audit' needs 2 workers that hold the same rows, and n_stragglers=0 gives 1. "
            "Use n_stragglers=1 or more, or verify=0."
        )


def refuse_audit(model: Any) -> None:
    """Raise ValueError if an estimator is to audit its rounds that chooses among many fits.

    An audit checks all that was sent for the end of a fit; here most have ended long before.
    """
    if model.verify == AUDIT:
        raise ValueError(
            f"{type(model).__name__} cannot have its rounds audited, as it chooses by what they "
            f"have said of fits that ended long before the last of them. Use verify=1, or "
            f"verify='{SYNDROME}', by which every sum is verified before it is used."
        )


def once(objective: Objective, w: Vector, history: History) -> Evaluation:
    """Evaluate at a point, and again where an audit finds that to be wrong.

    What was wrong is kept in a history, and the last is not.
    """
    seen: list[Evaluation] = []

    def run() -> None:
        try:
            seen.append(objective(w))
        except TakenBackError as error:
            seen.extend(error.seen)
            raise

    to_the_end(objective, run, lambda _: w)
    *wrong, right = seen
    for one in wrong:
        history.records.append(replace(one.record, round=len(history)))
    return right


@runtime_checkable
class _Audited(Protocol):
    found: Sequence[Discovery]


def found_by(objective: Objective, first: int) -> list[Discovery]:
    """Return what an audit has found, where a fit had so many rounds before the objective's."""
    found = objective.found if isinstance(objective, _Audited) else ()
    return [
        replace(one, round=one.round + first, rounds=tuple(i + first for i in one.rounds))
        for one in found
    ]
