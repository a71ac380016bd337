"""The words, and their colours, for what became of a worker in a round."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dask_gradcode.rounds import RoundRecord

__all__ = [
    "ALL_ANSWERED",
    "LATE",
    "LOST",
    "NOT_NEEDED",
    "OF_WORKERS",
    "SPARED",
    "UNPLACED",
    "WORDS",
    "Word",
    "worst",
]


@dataclass(frozen=True)
class Word:
    """What became of a worker that had not answered when a round ended.

    Parameters
    ----------
    name : str
        The attribute of a record that has these workers.
    text : str
        What is said of such a worker.
    of_round : str
        What is said of a round with such workers.
    colour : str
        Dark and light alternate, so that neighbours can be told apart without their hue.
    """

    name: str
    text: str
    of_round: str
    colour: str


LOST = Word("lost", "lost", "somebody lost", "#b3202c")
LATE = Word("late", "late", "somebody late", "#f59e0b")
UNPLACED = Word("unplaced", "not placed yet", "not all placed yet", "#7e57c2")
NOT_NEEDED = Word("not_needed", "not needed", "not all needed", "#a9b8c9")
SPARED = Word("spared", "not asked", "not all asked", "#dfe6ee")
ALL_ANSWERED = Word("", "answered", "all answered", "#4d4d4d")

WORDS = (LOST, LATE, UNPLACED, NOT_NEEDED)
"""From what one looks for first."""

OF_WORKERS = (LOST, LATE, UNPLACED, SPARED, NOT_NEEDED)
"""The same for one worker: whether it was not needed and not even asked, or asked in vain."""


def worst(records: Iterable[RoundRecord]) -> Word:
    """Return the first of the words that is true of anybody in some rounds.

    Parameters
    ----------
    records : iterable of RoundRecord
        The rounds.

    Returns
    -------
    Word
        Or the one for rounds that all workers answered.
    """
    rounds = list(records)
    for word in WORDS:
        if any(getattr(record, word.name) for record in rounds):
            return word
    return ALL_ANSWERED
