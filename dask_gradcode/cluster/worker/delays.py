"""The worker's side of injected delays: what blocks it before it computes in a round."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Hashable

from distributed import get_worker, secede

from dask_gradcode.cluster.worker.released import Released
from dask_gradcode.stragglers import StragglerModel

__all__ = ["await_begin", "await_end", "delay", "hold"]

_PATIENCE = 30.0  # seconds

_active: dict[tuple[str, str], _Injection] = {}  # by worker and token; threads are workers, too
_changed = threading.Condition()


class _Injection:
    """One straggler model on one worker, for as long as it is to last."""

    def __init__(self, model: StragglerModel) -> None:
        self._model, self._over = model, threading.Event()
        self._rounds: dict[Hashable, int] = {}  # the last one, by whose it is
        self._locks: dict[Hashable, threading.Lock] = {}

    def end(self) -> None:
        """End every delay, now and in future; from any thread."""
        self._over.set()

    def wait(self) -> None:
        """Wait for the end."""
        self._over.wait()

    def delay(self, who: Hashable, role: int, round: int, n_workers: int) -> None:
        # Another thread, with another message of the same round, is delayed as long.
        with self._locks.setdefault(who, threading.Lock()):
            if self._rounds.get(who) != round:
                seconds = float(self._model.delays(round, n_workers)[role])
                self._rounds[who] = round
                self._over.wait(min(seconds, threading.TIMEOUT_MAX))


def delay(who: Hashable, role: int, round: int, n_workers: int) -> bool:
    """Block as injected models say; called before each message, blocks before a round's first.

    Parameters
    ----------
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
    bool
        Whether it may have taken so long that the round is over.
    """
    if not _active:
        return False
    address = get_worker().address
    for (worker, _), injection in list(_active.items()):
        if worker == address:
            injection.delay(who, role, round, n_workers)
    return True


def hold(model: bytes, token: str) -> None:
    """Delay this worker until released; the body of a long task, which ends with its client.

    The model is pickled: it may be the user's own, and is imported here, not in the event loop.
    """
    injection, key = _Injection(pickle.loads(model)), (get_worker().address, token)
    with Released.told(injection.end):
        secede()
        _set(key, injection)
        try:
            injection.wait()
        finally:
            _set(key, None)


def _set(key: tuple[str, str], injection: _Injection | None) -> None:
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
        if not _changed.wait_for(lambda: key in _active, _PATIENCE):
            raise TimeoutError(f"The delays have not begun on {key[0]}.")


def await_end(token: str) -> None:
    """Return once nothing of ``hold`` is left on this worker."""
    key = (get_worker().address, token)
    with _changed:
        _changed.wait_for(lambda: key not in _active, _PATIENCE)
