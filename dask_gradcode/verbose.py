"""How fits and placements say what they do: a line now and then, or rich's progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np

__all__ = ["Bar", "bar", "check_verbose", "say"]


def check_verbose(verbose: Any) -> None:
    """Raise for what ``verbose`` cannot be, and where it needs a package that is not installed.

    Raises
    ------
    ValueError
        If it is neither a bool, nor an int from 0 on, nor ``"bar"``.
    ImportError
        For ``"bar"`` without rich, or without ipywidgets in a notebook.
    """
    if isinstance(verbose, Integral | np.bool_) and int(verbose) >= 0:
        return
    if verbose != "bar":
        raise ValueError(f"verbose must be a bool, an int from 0 on or 'bar', got {verbose!r}.")
    try:
        from rich import get_console

        if get_console().is_jupyter:
            import ipywidgets  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "verbose='bar' needs rich, and ipywidgets in a notebook: pip install "
            "'dask-gradcode[progress]'. verbose=1 prints lines instead."
        ) from error


def say(name: str, text: str) -> None:
    """Print a line of an estimator's or a function's, at once.

    Output may be a file, and that is where one looks for what hangs.

    Examples
    --------
    >>> say("place", "3 of 4 chunks checked")
    [place] 3 of 4 chunks checked
    """
    print(f"[{name}] {text}", flush=True)


class Bar:
    """A progress bar in a terminal or a notebook, 80 characters wide at most.

    Parameters
    ----------
    progress : rich.progress.Progress
        What draws it.
    what : str
        What is counted.
    total : int
        How many there will be.
    """

    def __init__(self, progress: Any, what: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=total, line="")

    def draw(self, done: int, line: str, **changed: Any) -> None:
        """Draw that so many are done; ``description`` and ``total`` may change."""
        self._progress.update(self._task, completed=done, line=line, **changed)

    def fill(self) -> None:
        """Draw it full: what is done is all that there was to do.

        In a notebook rich does not draw once more by itself.
        """
        done = max(int(self._progress.tasks[0].completed), 1)
        self._progress.update(self._task, total=done, completed=done, refresh=True)


@contextmanager
def bar(what: str, total: int) -> Iterator[Bar]:
    """Lend a bar, which is drawn until the context ends.

    Parameters
    ----------
    what : str
        What is counted.
    total : int
        How many there will be.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=8),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}", markup=False),
    ]
    with Progress(*columns) as progress:
        yield Bar(progress, what, total)
