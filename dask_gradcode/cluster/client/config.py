"""Settings that users may change by ``dask.config``, under the key ``gradcode``."""

from __future__ import annotations

from functools import lru_cache

import dask.config
from dask.utils import parse_timedelta

__all__ = ["DEFAULTS", "large_arguments", "seconds", "setting"]

DEFAULTS = {
    # how long to wait for lost and frozen workers when the others are not enough
    "gradcode.timeouts.recover": "60s",
    # how long a lost role waits for a worker of its own before it shares one
    "gradcode.timeouts.share": "10s",
    # how long to wait at first for as many workers as the code needs
    "gradcode.timeouts.workers": "10s",
    # how long to try to reach a worker before messages travel as tasks
    "gradcode.timeouts.connect": "5s",
    # how long a worker may be silent while others are heard, for a heartbeat every 0.5 s: more
    # workers send theirs less often
    "gradcode.timeouts.frozen": "5s",
    # how long a round may go without any answer although its workers live
    "gradcode.timeouts.round": "1h",
    # what an audited fit keeps in memory of what its objective has said; the rest goes to a file
    "gradcode.audit.memory": "256 MiB",
}


def setting(key: str) -> str | float:
    """Return a setting as it was given.

    Parameters
    ----------
    key : str
        One of ``DEFAULTS``.

    Examples
    --------
    >>> setting("gradcode.audit.memory")
    '256 MiB'
    """
    found: str | float = dask.config.get(key, DEFAULTS[key])
    return found


def seconds(key: str) -> float:
    """Return a time-out in seconds.

    Parameters
    ----------
    key : str
        One of ``DEFAULTS``.

    Examples
    --------
    >>> seconds("gradcode.timeouts.recover")
    60.0
    """
    return _parsed(setting(key))


@lru_cache  # a round asks for two of them
def _parsed(setting: str | float) -> float:
    return float(parse_timedelta(setting))


def large_arguments() -> dask.config.set:
    """Return a context in which Dask does not warn of tasks with large arguments: ours are meant.

    Examples
    --------
    >>> with large_arguments():
    ...     pass
    """
    return dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PiB"})
