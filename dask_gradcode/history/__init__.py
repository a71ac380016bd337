"""What every round of a fit did, as records, as a table, as a picture and as a card."""

from dask_gradcode.history.changes import Change
from dask_gradcode.history.history import History
from dask_gradcode.history.recorder import Recorder

__all__ = ["Change", "History", "Recorder"]
