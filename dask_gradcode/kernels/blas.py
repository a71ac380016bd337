"""BLAS on one thread, so that the same rows give the same bits on any worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController

__all__ = ["one_blas_thread"]

_blas_lock = threading.Lock()
_blas_users = 0
_blas_limit: Any = None


@cache
def _blas_controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks through the loaded libraries: milliseconds, so once


@cache
def _blas_libraries() -> list[Any]:
    return [lib for lib in _blas_controller().lib_controllers if lib.user_api == "blas"]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run BLAS on one thread: more threads add in another order, and steal from other workers.

    The setting belongs to the process, so the last to leave resets what the first to enter found.

    Examples
    --------
    >>> with one_blas_thread():
    ...     pass
    """
    global _blas_users, _blas_limit
    with _blas_lock:
        _blas_users += 1
        if any(library.num_threads != 1 for library in _blas_libraries()):
            _forget_who_set_blas()
            limit = _blas_controller().limit(limits=1, user_api="blas")
            _blas_limit = _blas_limit or limit
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0 and _blas_limit is not None:
                _forget_who_set_blas()
                _blas_limit.restore_original_limits()
                _forget_who_set_blas()
                _blas_limit = None


def _forget_who_set_blas() -> None:
    # Newer versions of threadpoolctl ignore all threads but the first that has set OpenBLAS.
    forget = getattr(OpenBLASController, "clear_controlling_thread", None)
    if forget is not None:
        forget(force=True)
