"""Whether the exact sum is still within reach."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from dask_gradcode.rounds.state import State
from dask_gradcode.typing import Mask

__all__ = ["could_decode"]


def could_decode(state: State, possible: Mask, gone: Collection[int] = ()) -> bool:
    """Say whether the exact sum could be decoded from messages, if some roles do no more.

    Parameters
    ----------
    state : State
        What is known.
    possible : ndarray of bool, shape (n_messages,)
        Messages that have arrived or may still.
    gone : collection of int, optional
        Roles that may do no more, besides the ones lost or in error. Where workers exchange
        what they compute, blocks that only these hold do not come in others' messages, either.

    Returns
    -------
    bool
        No if the round waits for more messages than these. Of a block that was on its way to others
        when its holder was lost, it may say no too soon.
    """
    if np.count_nonzero(possible) < state.at_least:
        return False
    code, absent = state.code, {*state.lost, *state.errors, *gone}
    if not code.exchanges:
        return code.can_decode(possible)
    decoder, decodable = code.decoder(), False
    for message in np.flatnonzero(possible).tolist():
        blocks = code.messages[message].blocks
        left = tuple(b for b in blocks if not absent.issuperset(code.holders[b]))
        if state.arrived[message]:
            left = state.parts.get(message, blocks)
        whole = len(left) == len(blocks)
        decodable |= decoder.add(message) if whole else decoder.add_part(message, left)
    return decodable
