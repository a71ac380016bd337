"""The worker's side of injected models: what keeps it from computing, from sending, from truth."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from math import prod
from typing import Any

from distributed import get_worker, secede

from dask_gradcode.cluster.worker.lies import Lies, Lying, falsified
from dask_gradcode.cluster.worker.released import Released
from dask_gradcode.cluster.worker.throttle import Bucket, Throttle
from dask_gradcode.stragglers import LossyLinks, StragglerModel
from dask_gradcode.typing import Vector
from dask_gradcode.work import Piece

__all__ = [
    "Uplink",
    "await_begin",
    "await_end",
    "hold",
    "lossy_links",
    "paced",
    "truthful",
    "upload",
]

_WITHIN = 30.0  # seconds in which a model begins, or ends
_LOOK_EVERY = 0.001  # seconds in which a slow worker notices that it is told to stop

_Slowdown = Callable[[], float]

# by worker and token; threads are workers, too
_active: dict[tuple[str, str], _Injected] = {}
_changed = threading.Condition()


class _Injection:
    """One straggler model on one worker, for as long as it is to last."""

    def __init__(self, model: StragglerModel) -> None:
        self._model, self._over = model, threading.Event()
        self._rounds: dict[Hashable, tuple[int, float]] = {}  # the last, its slowdown, by whose
        self._locks: dict[Hashable, threading.Lock] = {}

    def end(self) -> None:
        """End every delay, now and in future; from any thread."""
        self._over.set()

    def wait(self) -> None:
        """Wait for the end."""
        self._over.wait()

    def begin(self, who: Hashable, role: int, round: int, n_workers: int) -> _Slowdown:
        """Block before a round's first message; return how slow the worker is in the round."""
        # Another thread, with another message of the same round, is delayed as long.
        with self._locks.setdefault(who, threading.Lock()):
            last, factor = self._rounds.get(who, (-1, 1.0))
            if last != round:
                seconds = float(self._model.delays(round, n_workers)[role])
                factor = float(self._model.slowdowns(round, n_workers)[role])
                self._rounds[who] = round, factor
                self._over.wait(min(seconds, threading.TIMEOUT_MAX))
        return lambda: 1.0 if self._over.is_set() else factor


class _Lossy:
    """Links that lose something, for as long as that is to last."""

    def __init__(self, links: LossyLinks) -> None:
        self.links, self._over = links, threading.Event()

    def end(self) -> None:
        """Let everything pass from now on; from any thread."""
        self._over.set()

    def wait(self) -> None:
        """Wait for the end."""
        self._over.wait()


_Injected = _Injection | Bucket | _Lossy | Lying


def lossy_links() -> list[LossyLinks]:
    """Return the lossy links that are injected on this worker."""
    if not _active:
        return []
    return [injection.links for injection in _here() if isinstance(injection, _Lossy)]


def paced(
    compute: Callable[[Callable[[], bool]], Vector | None],
    should_stop: Callable[[], bool],
    who: Hashable,
    role: int,
    round: int,
    n_workers: int,
) -> Vector | None:
    """Compute a message as late and as slowly as injected models say.

    Parameters
    ----------
    compute : callable
        ``compute(should_stop)`` returns the payload, or None if it was told to stop, which it asks
        before each chunk of rows or each block.
    should_stop : callable
        Whether this round is over. Asked on all threads that compute, each of which is slowed down.
    who : hashable
        Whose rounds these are: one fit's role.
    role : int
        The code worker that is played here.
    round : int
        The round's number.
    n_workers : int
        Number of workers of the code.

    Returns
    -------
    ndarray or None
        The payload, or None if told to stop.
    """
    if not _active:
        return compute(should_stop)
    models = [injection for injection in _here() if isinstance(injection, _Injection)]
    slowdowns = [injection.begin(who, role, round, n_workers) for injection in models]
    if should_stop():  # the delay may have lasted longer than the round
        return None
    slowly = _Slowly(should_stop, slowdowns)
    payload = compute(slowly)
    return None if slowly.wait() else payload  # what came last takes its time, too


def _here() -> list[_Injected]:
    """Return what is injected on this worker."""
    address = get_worker().address
    return [injection for (worker, _), injection in list(_active.items()) if worker == address]


def truthful(pieces: Sequence[Piece], role: int, round: int) -> Sequence[Piece]:
    """Return the pieces of a message; falsified where injected lies say so."""
    for one in _here() if _active else []:
        if isinstance(one, Lying) and not one.is_over:
            pieces = falsified(one.lies, pieces, role, round)
    return pieces


class Uplink:
    """What the thread of a worker may send, as slow as injected throttles say."""

    def allowance(self, wanted: int) -> int:
        """Return how many of the wanted bytes may go now."""
        for bucket in self._buckets():
            wanted = bucket.allowance(wanted)
        return wanted

    def spend(self, n_bytes: int) -> None:
        """Note that so many bytes went."""
        for bucket in self._buckets():
            bucket.spend(n_bytes)

    def _buckets(self) -> list[Bucket]:
        return [one for one in _here() if isinstance(one, Bucket)] if _active else []


def upload(n_bytes: int) -> None:
    """Wait for as long as it should take to send so many bytes."""
    uplink = Uplink()
    while n_bytes > 0:
        allowed = uplink.allowance(n_bytes)
        uplink.spend(allowed)
        n_bytes -= allowed


class _Slowly:
    """A ``should_stop`` that answers when a slow worker would have come to ask.

    Parameters
    ----------
    should_stop : callable
        Whether to stop; asked all the time, so that waiting ends with the round. Any thread of
        those that compute may ask; each is as slow as the others.
    slowdowns : sequence of callable
        How many times as long as usual computing takes; their product counts. Each may end.
    """

    def __init__(self, should_stop: Callable[[], bool], slowdowns: Sequence[_Slowdown]) -> None:
        self._should_stop, self._slowdowns = should_stop, slowdowns
        self._here = threading.local()  # since: when computing went on; none until asked

    def __call__(self) -> bool:
        stop = self.wait() or self._should_stop()
        self._here.since = time.perf_counter()
        return stop

    def wait(self) -> bool:
        """Wait for as long as computing should have taken; True if told to stop meanwhile."""
        since: float | None = getattr(self._here, "since", None)
        if since is None:
            return False
        took = time.perf_counter() - since
        while True:
            until = since + took * prod(slowdown() for slowdown in self._slowdowns)
            left = until - time.perf_counter()
            if left <= 0 or self._should_stop():
                return left > 0
            time.sleep(min(left, _LOOK_EVERY))


def hold(model: bytes, token: str) -> None:
    """Delay this worker, or its messages, until released; a long task, which ends with its client.

    The model is pickled: it may be the user's own, and is imported here, not in the event loop.
    """
    injected, key = pickle.loads(model), (get_worker().address, token)
    injection = _injection(injected)
    with Released.told(injection.end):
        secede()
        _set(key, injection)
        try:
            injection.wait()
        finally:
            _set(key, None)


def _injection(model: Any) -> _Injected:
    match model:
        case Throttle():
            return Bucket(model)
        case LossyLinks():
            return _Lossy(model)
        case Lies():
            return Lying(model)
    return _Injection(model)


def _set(key: tuple[str, str], injection: _Injected | None) -> None:
    with _changed:
        if injection is None:
            del _active[key]
        else:
            _active[key] = injection
        _changed.notify_all()


def await_begin(token: str) -> None:
    """Return once ``hold`` has begun on this worker."""
    secede()  # Dask may run this first, and a worker of one thread would never come to hold
    key = (get_worker().address, token)
    with _changed:
        if not _changed.wait_for(lambda: key in _active, _WITHIN):
            raise TimeoutError(f"The delays have not begun on {key[0]}.")


def await_end(token: str) -> None:
    """Return once nothing of ``hold`` is left on this worker."""
    key = (get_worker().address, token)
    with _changed:
        _changed.wait_for(lambda: key not in _active, _WITHIN)
