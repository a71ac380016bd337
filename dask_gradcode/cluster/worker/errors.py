"""Errors of a worker, as the bytes by which its client gets to know them."""

from __future__ import annotations

import pickle
from typing import Any

from distributed.protocol.pickle import dumps

__all__ = ["harmless", "pack_error", "unpack_error"]


def harmless(error: BaseException) -> BaseException:
    """Return the error, or one that names it where it would end the process that raises it.

    Examples
    --------
    >>> harmless(SystemExit(3))
    RuntimeError('SystemExit(3) was raised on a worker')
    """
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        return RuntimeError(f"{error!r} was raised on a worker")
    return error


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
