"""Errors of a worker, as the bytes by which its client gets to know them."""

from __future__ import annotations

import pickle
from types import TracebackType
from typing import Any

from distributed.protocol.pickle import dumps

__all__ = ["harmless", "pack_error", "unpack_error"]


_DEEPEST = 100
"""Frames of a traceback that travels: pickle takes a few calls for each, and has a limit."""


def harmless(error: BaseException) -> BaseException:
    """Return the error, or one that names it where it would end the process that raises it.

    A traceback too deep to be pickled, such as that of an endless recursion, is cut: Dask's client
    would no longer hear its scheduler after one.

    Examples
    --------
    >>> harmless(SystemExit(3))
    RuntimeError('SystemExit(3) was raised on a worker')
    """
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        return RuntimeError(f"{error!r} was raised on a worker")
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        _cut(link.__traceback__)
        link = link.__cause__ or link.__context__
    return error


def _cut(traceback: TracebackType | None) -> None:
    """Leave no more frames of a traceback than can travel: those of the callers."""
    for _ in range(_DEEPEST):
        if traceback is None:
            return
        last, traceback = traceback, traceback.tb_next
    last.tb_next = None


def pack_error(error: BaseException) -> bytes:
    """Return an error, and its text for a client that does not know its class."""
    error = harmless(error)
    try:
        pickled = bytes(dumps(error))
    except Exception:
        pickled = b""
    return bytes(dumps((_text(error), pickled)))


def unpack_error(body: Any) -> BaseException:
    """Return the error that ``pack_error`` was given; never raises.

    Parameters
    ----------
    body : bytes-like
        What came.
    """
    text = "of an unknown kind"
    try:
        text, pickled = pickle.loads(body)
        error = pickle.loads(pickled)
        if not isinstance(error, BaseException):
            raise TypeError(f"{type(error).__name__} is no exception")
    except BaseException as reason:  # whatever its class does when it is made again
        return RuntimeError(
            f"A worker raised an error that cannot be read here ({reason!r}): {text}"
        )
    return harmless(error)


def _text(error: BaseException) -> str:
    try:
        return repr(error)
    except Exception:
        return type(error).__name__
