"""What every round of a fit did, as records, as a table, as a picture and as a card."""

from dask_gradcode.history.changes import Change
from dask_gradcode.history.history import History
from dask_gradcode.history.recorder import Recorder
from dask_gradcode.history.work import Move, moves

__all__ = ["Change", "History", "Move", "Recorder", "moves"]
