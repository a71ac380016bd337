"""Which of two roles that sent different sums of the same rows is wrong.

Both tell how they came to what they sent: a digest of each state in between. The client takes the
first step after which they part, has both show it and one its rows, checks these against digests
that were taken when the data was placed, and computes that one chunk of rows itself. A role that
contradicts what it has said before is wrong, too: the payload was said first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from dask_gradcode.typing import Vector
from dask_gradcode.work.account import Account, Evidence, Exhibit, Step, digest_of, sum_of_ends
from dask_gradcode.work.judging import Finding, compare, first_parting

__all__ = ["Inquiry", "Verdict", "hear"]

_Told = TypeVar("_Told")


class Inquiry(Protocol):
    """Asks roles how they came to a message of a round. A text in an answer's place says why not.

    Attributes
    ----------
    n_bytes : int
        What has travelled.
    """

    n_bytes: int

    def accounts(self, roles: Collection[int]) -> Mapping[int, Account | str]:
        """Have roles compute the message again, and tell step by step."""
        ...

    def evidence(self, roles: Collection[int], number: int) -> Mapping[int, Evidence | str]:
        """Have roles show one step."""
        ...

    def rows(self, role: int, number: int) -> Exhibit | str:
        """Have a role show the rows of one step."""
        ...

    def ends(self, roles: Collection[int]) -> Mapping[int, list[Vector] | str]:
        """Have roles show what each piece of the message came to."""
        ...

    def is_placed(self, step: Step, exhibit: Exhibit) -> bool:
        """Say whether rows are the ones that were placed."""
        ...

    def redo(self, role: int, step: Step, evidence: Evidence, exhibit: Exhibit) -> Vector:
        """Compute a step here, and return the state after it."""
        ...

    def round_alike(self, one: int, other: int) -> bool:
        """Say whether two roles compute the same bits."""
        ...


@dataclass(frozen=True)
class Verdict:
    """What a hearing has found.

    Parameters
    ----------
    wrong : mapping of int to str
        Which roles are wrong, and in what. Empty: it cannot be decided.
    absent : mapping of int to str
        Which roles have not answered, and why.
    n_chunks : int
        How many chunks of rows were computed here.
    n_bytes : int
        How much has travelled.
    """

    wrong: Mapping[int, str] = field(default_factory=dict)
    absent: Mapping[int, str] = field(default_factory=dict)
    n_chunks: int = 0
    n_bytes: int = 0


def hear(inquiry: Inquiry, claims: Mapping[int, bytes]) -> Verdict:
    """Find out which of two roles is wrong.

    Parameters
    ----------
    inquiry : Inquiry
        Asks them.
    claims : mapping of int to bytes
        The digests of what they sent, by role.
    """
    hearing = _Hearing(inquiry, claims)
    wrong = hearing.run()
    return Verdict(wrong, hearing.absent, hearing.n_chunks, inquiry.n_bytes)


class _Hearing:
    def __init__(self, inquiry: Inquiry, claims: Mapping[int, bytes]) -> None:
        self._inquiry, self._claims = inquiry, claims
        self.absent: dict[int, str] = {}
        self.n_chunks = 0

    def run(self) -> dict[int, str]:
        accounts = self._present(self._inquiry.accounts(tuple(self._claims)))
        if self.absent:
            return {}
        contradicted = {
            role: "it cannot account for what it sent"
            for role, account in accounts.items()
            if account.payload != self._claims[role]
        }
        if contradicted:
            return contradicted
        (one, a), (other, b) = accounts.items()
        if list(a.steps) != list(b.steps):
            return {}
        bitwise = self._inquiry.round_alike(one, other)
        number = first_parting(a, b, bitwise=bitwise)
        return self._adding(accounts) if number is None else self._step(accounts, number)

    def _present(self, told: Mapping[int, _Told | str]) -> dict[int, _Told]:
        """Return what was told, and note which roles have told nothing."""
        self.absent.update({role: why for role, why in told.items() if isinstance(why, str)})
        return {role: one for role, one in told.items() if not isinstance(one, str)}

    def _adding(self, accounts: Mapping[int, Account]) -> dict[int, str]:
        """Judge how two have added up what they agree on; of sums bits are the same anywhere."""
        wrong = {}
        for role, ends in self._present(self._inquiry.ends(tuple(accounts))).items():
            account = accounts[role]
            last = {step.piece: i for i, step in enumerate(account.steps)}
            if any(digest_of(ends[piece]) != account.digests[i] for piece, i in last.items()):
                wrong[role] = "it contradicts its own account"
            elif digest_of(sum_of_ends(ends)) != account.payload:
                wrong[role] = "it added up wrongly what it had computed"
        return wrong

    def _step(self, accounts: Mapping[int, Account], number: int) -> dict[int, str]:
        """Judge the first step after which two differ."""
        inquiry = self._inquiry
        shown = self._present(inquiry.evidence(tuple(accounts), number))
        if self.absent:
            return {}
        step = next(iter(accounts.values())).steps[number]
        wrong = {
            role: "it contradicts its own account"
            for role, evidence in shown.items()
            if not _is_of(evidence, accounts[role], number)
        }
        exhibit = None
        for role in shown if not wrong else ():
            told = inquiry.rows(role, number)
            if isinstance(told, str):
                self.absent[role] = told
            elif inquiry.is_placed(step, told):
                exhibit = told
                break
            else:
                wrong[role] = f"its rows of block {step.block} are not those that were placed"
                break
        if wrong or exhibit is None:
            return wrong
        here: dict[bytes, Vector] = {}  # by the state before
        findings: dict[int, Finding] = {}
        for role, evidence in shown.items():
            before = digest_of(evidence.before)
            if before not in here:
                here[before] = inquiry.redo(role, step, evidence, exhibit)
                self.n_chunks += 1
            findings[role] = compare(here[before], evidence)
        where = f"block {step.block}" + ("" if step.rows is None else ", rows {}:{}")
        where = where.format(*(step.rows or ()))
        what = f"what it computed of {where} is wrong"
        return dict.fromkeys(_wrong(findings), what)


def _is_of(evidence: Evidence, account: Account, number: int) -> bool:
    """Say whether a step that is shown is that of an account."""
    before, step = evidence.before, account.steps[number]
    if number and account.steps[number - 1].piece == step.piece:
        is_begun = digest_of(before) == account.digests[number - 1]
    else:
        is_begun = not np.any(before)
    return is_begun and digest_of(evidence.after) == account.digests[number]


def _wrong(findings: Mapping[int, Finding]) -> list[int]:
    """Return the roles that are wrong: beyond rounding, or in bits if another has the client's.

    Where none has the client's bits, and both are within rounding, it cannot be said.
    """
    beyond = [role for role, found in findings.items() if found is Finding.WRONG]
    if beyond:
        return beyond
    close = [role for role, found in findings.items() if found is Finding.CLOSE]
    return close if len(close) < len(findings) else []
