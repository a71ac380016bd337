"""Placements that outlive their client: what they are known by, and how they are found again."""

from __future__ import annotations

import logging
import pickle
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import scipy.sparse
from dask.base import tokenize
from dask.utils import ensure_dict, parse_timedelta
from distributed import Client, fire_and_forget

from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.client.session import workers_of
from dask_gradcode.cluster.client.survey import survey
from dask_gradcode.cluster.data.cuts import XFacts, balance
from dask_gradcode.cluster.data.kept import Keep, kept_roles, let_go
from dask_gradcode.cluster.data.lazy import is_dask
from dask_gradcode.cluster.data.source import Source
from dask_gradcode.cluster.placement.casting import MOST
from dask_gradcode.cluster.placement.codes import size_of
from dask_gradcode.codes import GradientCode, Size
from dask_gradcode.targets import Targets

__all__ = ["Keeping", "State", "fingerprint_of"]

logger = logging.getLogger("dask_gradcode")


@dataclass(frozen=True)
class State:
    """What else is known of a placement whose shards are kept.

    Parameters
    ----------
    code : GradientCode
        The code.
    borders : sequence of int
        The rows at which blocks begin, and the number of all rows.
    targets : Targets
        Of all rows.
    facts : sequence of XFacts
        What each chunk of the features is.
    lengths : mapping of str to sequence of int
        Rows of each chunk of each array.
    groups : mapping of str to sequence of range
        Which chunks of each array are taken together.
    """

    code: GradientCode
    borders: Sequence[int]
    targets: Targets
    facts: Sequence[XFacts]
    lengths: Mapping[str, Sequence[int]]
    groups: Mapping[str, Sequence[range]]


@dataclass(frozen=True)
class Found:
    """A placement that workers keep, and the worker of each role that is kept."""

    state: State
    where: dict[int, str]


class Keeping:
    """That a placement is kept when its client has gone, and one that is kept already.

    Parameters
    ----------
    client : distributed.Client
        The client.
    seconds : float or None
        For how long; None: it is not kept.
    fingerprint : str
        By which it is known again.
    found : Found or None
        The one that workers keep.
    """

    def __init__(
        self, client: Client, seconds: float | None, fingerprint: str, found: Found | None
    ) -> None:
        self._client, self._seconds, self._fingerprint = client, seconds, fingerprint
        self.found = found

    @classmethod
    def of(
        cls, client: Client, addresses: Sequence[str], keep: Any, given: Any, *others: Any
    ) -> Keeping:
        """Look for the same placement on workers, if it is to be kept at all."""
        if keep is None:
            return cls(client, None, "", None)
        seconds = float(parse_timedelta(keep))
        fingerprint = fingerprint_of(given, *others)
        return cls(client, seconds, fingerprint, _find(client, addresses, fingerprint))

    @property
    def storage(self) -> str:
        """Where blocks are kept already; empty if nowhere."""
        return "" if self.found is None else "disk"

    @property
    def groups(self) -> Mapping[str, Sequence[range]] | None:
        """Which chunks were taken together in what is kept; None if nothing is."""
        return None if self.found is None else self.found.state.groups

    @property
    def where(self) -> Mapping[int, str]:
        """The worker of each role that is kept."""
        return {} if self.found is None else self.found.where

    def look(
        self, look: Callable[..., Any], source: Source, choose: Callable[[Size], GradientCode]
    ) -> Any:
        """Return what all chunks are, and where the computed ones are.

        Of what is kept the targets are looked at, and one chunk of the features, picked at random;
        if these are others, nothing is taken up.
        """
        if self.found is not None:
            state, chunk = self.found.state, random.randrange(len(self.found.state.facts))
            source.keep("X", chunk, source.again("X", chunk))
            facts, where = look(known=state.facts)
            why = _why_not(state, choose(size_of(state.facts)), facts, chunk)
            if not why:
                roles = ", ".join(map(str, sorted(self.where)))
                logger.warning("Taken up from the disks of workers: roles %s.", roles)
                return {**facts, "X": state.facts}, where
            logger.warning("What workers keep of these data is not taken up: %s.", why)
            self.found = None
            self.forget(None)
            source.begin(["X"])
        return look()

    def state(
        self, code: GradientCode, facts: Mapping[str, Sequence[Any]], source: Source
    ) -> State:
        """Return what is to be known of the placement: as it was kept, or as it is now."""
        if self.found is not None:
            return self.found.state
        lengths = {name: [fact.n_rows for fact in facts[name]] for name in facts}
        borders, targets = balance(facts["X"], code.n_blocks), Targets.merge(facts["y"])
        return State(code, borders, targets, facts["X"], lengths, source.groups)

    def keep(self, uid: str, state: State) -> Keep | None:
        """Return what workers are told, if they are to keep shards."""
        if self._seconds is None:
            return None
        # of a profile of the rows no more is needed than how many values are stored
        ends = [None if fact.stored is None else fact.stored[-1:] for fact in state.facts]
        facts = [replace(f, stored=end) for f, end in zip(state.facts, ends, strict=True)]
        packed = pickle.dumps(replace(state, facts=facts))
        return Keep(self._fingerprint, uid, self._seconds, packed)

    def forget(self, uid: str | None) -> None:
        """Have all workers keep nothing more of a placement, or of all with its fingerprint."""
        if self._seconds is None or self._client.status != "running":
            return
        for address in workers_of(self._client):
            gone = self._client.submit(
                let_go,
                *(self._fingerprint, uid),
                key=task_key("let-go", uuid.uuid4().hex[:12]),
                workers=[address],
                allow_other_workers=True,  # else it would wait for good for one that has gone
                pure=False,
            )
            fire_and_forget(gone)


def fingerprint_of(given: Mapping[str, Any], names: Any, *wishes: Any) -> str:
    """Return by what the same placement is known again.

    Parameters
    ----------
    given : mapping of str to array
        The checked arrays. Of a dask array all tasks count, with their functions and arguments, and
        not only its name; of one in memory all numbers do.
    names : object
        Of the columns.
    *wishes : object
        What was asked for: the code and its parameters.
    """
    arrays = {name: _token(array) for name, array in given.items()}
    return str(tokenize(version("dask-gradcode"), arrays, names, [repr(wish) for wish in wishes]))


def _token(array: Any) -> Any:
    if is_dask(array):
        return str(array.dtype), array.chunks, tokenize(ensure_dict(array.__dask_graph__()))
    if scipy.sparse.issparse(array):
        return array.shape, array.data, array.indices, array.indptr
    return array


def _find(client: Client, addresses: Sequence[str], fingerprint: str) -> Found | None:
    """Return a placement of that fingerprint that workers keep, or None."""
    states = dict[bytes, dict[int, str]]()
    for address, (roles, state) in survey(client, addresses, kept_roles, fingerprint).items():
        where = states.setdefault(state, {})
        free = [role for role in roles if role not in where]
        where |= dict.fromkeys(free[:MOST], address)
    kept = max((s for s in states if s), key=lambda state: len(states[state]), default=b"")
    return Found(pickle.loads(kept), states[kept]) if kept else None


def _why_not(
    state: State, code: GradientCode, facts: Mapping[str, Sequence[Any]], looked_at: int
) -> str:
    """Return why a placement that is kept cannot be taken up; empty if it can.

    Parameters
    ----------
    state : State
        What is kept.
    code : GradientCode
        The code that would be chosen now.
    facts : mapping of str to sequence
        What each chunk is now; of the features one has been computed anew.
    looked_at : int
        Which.
    """
    now, then = facts["X"][looked_at], state.facts[looked_at]
    if code != state.code:
        return f"its code is {state.code!r}, and now it is {code!r}"
    if not _are_same(Targets.merge(facts["y"]), state.targets):
        return "the targets or the sample weights are others"
    if (now.n_rows, now.n_features, now.n_values) != (then.n_rows, then.n_features, then.n_values):
        return f"chunk {looked_at} of X has another shape"
    if not now.moments.matches(then.moments):
        return f"chunk {looked_at} of X has other rows"
    return ""


def _are_same(now: Targets, then: Targets) -> bool:
    return now.moments.matches(then.moments) and now.weight_moments.matches(then.weight_moments)
