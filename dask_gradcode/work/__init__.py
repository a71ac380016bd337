"""What a worker computes: the payload of one message from its blocks, the code and ``w``.

A user says what shall be summed over rows by a loss, by a function, or by a work of their own.
:func:`as_work` makes one thing of the three; from there on nobody asks which it was.
"""

from dask_gradcode.work.base import Block, SecondOrderWork, Work
from dask_gradcode.work.climb import Climb, compute_message
from dask_gradcode.work.crew import ALONE, Crew
from dask_gradcode.work.exchanged import Exchanged, exchanged_sum
from dask_gradcode.work.fold_loss import FoldLoss
from dask_gradcode.work.folds import Folds
from dask_gradcode.work.kinds import BlockFunction, Centred, WorkLike, as_work
from dask_gradcode.work.left_out import LeftOut
from dask_gradcode.work.payload import Piece, compute_payload, pieces_of
from dask_gradcode.work.points import ManyPointsWork
from dask_gradcode.work.sums import Sums
from dask_gradcode.work.wanted import of_order

__all__ = [
    "ALONE",
    "Block",
    "BlockFunction",
    "Centred",
    "Climb",
    "Crew",
    "Exchanged",
    "FoldLoss",
    "Folds",
    "LeftOut",
    "ManyPointsWork",
    "Piece",
    "SecondOrderWork",
    "Sums",
    "Work",
    "WorkLike",
    "as_work",
    "compute_message",
    "compute_payload",
    "exchanged_sum",
    "of_order",
    "pieces_of",
]
