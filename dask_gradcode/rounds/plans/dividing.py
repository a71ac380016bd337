"""How open blocks are divided among the roles that can compute them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

__all__ = ["divided"]


def divided(
    able: Mapping[int, Sequence[int]],
    free_at: Callable[[int], float],
    pace: Callable[[int], float],
    done_at: Callable[[int], float],
    waits: Callable[[int, int], bool] = lambda block, role: False,
) -> tuple[dict[int, list[int]], dict[int, float]]:
    """Divide blocks so that all roles that compute some should finish together.

    Blocks that few can compute come first; each goes to the role that would finish it first.

    Parameters
    ----------
    able : mapping of int to sequence of int
        By block, the roles that can be asked for it.
    free_at : callable
        ``free_at(role)`` is when it will be done with what it has been asked for.
    pace : callable
        ``pace(role)`` is how many seconds it takes for a block.
    done_at : callable
        ``done_at(block)`` is when a role that is at it already will be done with it; inf if none
        is. A role gets the block only if it would be sooner.
    waits : callable
        ``waits(block, role)`` says whether a block is to wait rather than to go to a role.

    Returns
    -------
    given : dict of int to list of int
        By role, its blocks.
    finish : dict of int to float
        By role, when it should be done with them.

    Examples
    --------
    Role 1 is busy for three seconds more; so role 0 takes one block more than it:

    >>> divided({7: [0, 1], 8: [0, 1], 9: [0, 1]}, [0.0, 3.0].__getitem__, lambda role: 2.0,
    ...         lambda block: float("inf"))
    ({0: [7, 8], 1: [9]}, {0: 4.0, 1: 5.0})
    """
    given: dict[int, list[int]] = {}
    finish: dict[int, float] = {}
    for block in sorted(able, key=lambda block: (len(able[block]), block)):
        best, end = -1, done_at(block)
        for role in able[block]:
            at = finish.get(role)
            would = (free_at(role) if at is None else at) + pace(role)
            if would < end:
                best, end = role, would
        if best >= 0 and not waits(block, best):
            finish[best] = end
            given.setdefault(best, []).append(block)
    return given, finish
