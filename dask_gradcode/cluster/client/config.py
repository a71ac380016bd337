"""Settings that users may change by ``dask.config``, under the key ``gradcode``."""

from __future__ import annotations

from functools import lru_cache

import dask.config
from dask.utils import parse_timedelta

__all__ = ["DEFAULTS", "large_arguments", "seconds"]

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
}


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
    return _parsed(dask.config.get(key, DEFAULTS[key]))


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
