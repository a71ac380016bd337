"""A history as columns: one row a round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask_gradcode.history.history import History

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_columns", "as_frame"]


def as_frame(columns: Mapping[str, list[Any]], name: str) -> pd.DataFrame:
    """Return the ``columns`` of an object of this class as a frame; ImportError without pandas."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            f"{name}.to_frame needs pandas: pip install 'dask-gradcode[dataframe]'. "
            f"{name.lower()}.columns has the same columns as lists."
        ) from error
    return pd.DataFrame(columns)


def as_columns(history: History) -> dict[str, list[Any]]:
    """Return the records of a history as columns, by name."""
    moved = Counter[int]()
    for move in history.moves:
        moved[move.round] += len(move.blocks)
    return {
        "round": [r.round for r in history],
        "seconds": [r.seconds for r in history],
        "value": [r.value for r in history],
        "grad_norm": [r.grad_norm for r in history],
        "n_used": [int(r.used.sum()) for r in history],
        "n_late": [len(r.late) for r in history],
        "n_lost": [len(r.lost) for r in history],
        "n_restored": [len(r.restored) for r in history],
        "n_relocated": [len(r.relocated) for r in history],
        "n_spared": [len(r.spared) for r in history],
        "n_not_needed": [len(r.not_needed) for r in history],
        "n_unplaced": [len(r.unplaced) for r in history],
        "n_hurried": [len(r.hurried) for r in history],
        "n_moved": [moved[r.round] for r in history],
        "speeds": history.speeds.tolist(),
        "residual": [r.residual for r in history],
        "error": [r.error for r in history],
        "age": [r.age for r in history],
        "drift": [r.drift for r in history],
        "amplification": [r.amplification for r in history],
        "exact": [r.exact for r in history],
    }
