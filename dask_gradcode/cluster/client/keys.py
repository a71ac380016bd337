"""Names of tasks: the dashboard shows ``gradcode-message`` and the like, one colour for each."""

from __future__ import annotations

import itertools
from typing import Any

__all__ = ["task_key"]

_used = itertools.count()


def task_key(what: str, whose: str, *which: Any) -> tuple[Any, ...]:
    """Return the key of a Dask task.

    Dask takes the first part of a key, up to what looks like a hash, for the name of the task, and
    all tasks whose first part is equal for a group. A group belongs to one span, so the groups of
    two placements or fits must differ.

    Parameters
    ----------
    what : str
        What the task does, in a word; not one of eight letters, which Dask may take for a hash.
    whose : str
        Distinguishes the tasks of a placement or a fit from those of all others.
    *which
        Distinguishes the task from the others that do the same. Nothing: a number never used yet.

    Examples
    --------
    >>> task_key("shard", "4f0c13a8b2d9", 3, 0)
    ('gradcode-shard-4f0c13a8b2d9', 3, 0)
    """
    return (f"gradcode-{what}-{whose}", *(which or (next(_used),)))
