"""Trees of sums: one for each share, whose leaves are its blocks and whose root is all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.decoding import Decoder, Decoding
from dask_gradcode.codes.forest import Forest
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.summing import PrefixSum, add_payloads
from dask_gradcode.typing import Mask, Payload, Vector

__all__ = ["Covered", "TreeSum", "Trees"]


@dataclass(frozen=True)
class Trees(Sequence[Message]):
    """The messages of all trees, made when they are asked for.

    A tree's nodes are numbered as in a heap, from its root, which is 1; its messages are these in
    order, and a share's messages come after the messages of the share before.

    Parameters
    ----------
    n_shares : int
        Number of trees.
    n_leaves : int
        Of each tree, a power of two.
    """

    n_shares: int
    n_leaves: int

    @cached_property
    def n_nodes(self) -> int:
        """Of each tree."""
        return 2 * self.n_leaves - 1

    @cached_property
    def _known(self) -> dict[int, Message]:
        """The messages that have been asked for."""
        return {}

    def leaves(self, message: int) -> tuple[int, range]:
        """Return the share of a message, and which of its leaves are under it."""
        share, place = divmod(message, self.n_nodes)
        level = (place + 1).bit_length() - 1
        length = self.n_leaves >> level
        start = (place + 1 - (1 << level)) * length
        return share, range(start, start + length)

    def parent(self, message: int) -> int | None:
        """Return the node above, None of a root."""
        place = message % self.n_nodes
        return message - place + (place + 1) // 2 - 1 if place else None

    def children(self, message: int) -> tuple[int, ...]:
        """Return the two nodes below, none of a leaf."""
        place = message % self.n_nodes
        left = message + place + 1
        return () if place + 1 >= self.n_leaves else (left, left + 1)

    def cover(self, available: Mask) -> Mask:
        """Return which blocks are under one of some messages.

        Parameters
        ----------
        available : ndarray of bool, shape (n_messages,)
            Which messages.

        Returns
        -------
        ndarray of bool, shape (n_shares, n_leaves)
            Which leaves.
        """
        have = available.reshape(self.n_shares, self.n_nodes).copy()
        for place in range(self.n_leaves - 1):
            have[:, [2 * place + 1, 2 * place + 2]] |= have[:, [place]]
        return have[:, self.n_leaves - 1 :]

    def __len__(self) -> int:
        return self.n_shares * self.n_nodes

    @overload
    def __getitem__(self, index: int) -> Message: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Message, ...]: ...

    def __getitem__(self, index: int | slice) -> Message | tuple[Message, ...]:
        found = range(len(self))[index]
        return self._made(found) if isinstance(found, int) else tuple(map(self._made, found))

    def __iter__(self) -> Iterator[Message]:
        return map(self._made, range(len(self)))

    def _made(self, index: int) -> Message:
        found = self._known.get(index)
        if found is None:
            share, leaves = self.leaves(index)
            start = share * self.n_leaves + leaves.start
            blocks = tuple(range(start, start + len(leaves)))
            found = self._known[index] = Message(blocks, (1.0,) * len(leaves))
        return found


class Covered(Decoder):
    """Counts the shares of which all has come, each as one sum or in several.

    Parameters
    ----------
    code : GradientCode
        The code; its messages are trees.
    trees : Trees
        The messages.
    """

    def __init__(self, code: GradientCode, trees: Trees) -> None:
        self._trees, self._n_missing = trees, trees.n_shares
        # by message that is complete: the messages that came and make it up
        self._came: Forest[tuple[int, ...]] = Forest(code, tuple.__add__)

    def add(self, message: int) -> bool:
        complete = self._came.put(message, (message,))
        if complete is not None and self._trees.parent(complete) is None:
            self._n_missing -= 1
        return self._n_missing == 0

    def decode(self) -> Decoding:
        trees, came = self._trees, self._came.sums
        weights = np.zeros(len(trees))
        weights[[message for made in came.values() for message in made]] = 1.0
        n_covered = sum(len(trees.leaves(message)[1]) for message in came)
        share = n_covered / (trees.n_shares * trees.n_leaves)
        return Decoding(weights, 1.0 if self._n_missing else 0.0, 1.0 - share, share)


class TreeSum:
    """Adds messages up their trees, and what comes of each share in the order of the shares.

    Parameters
    ----------
    code : GradientCode
        The code; its messages are trees.
    trees : Trees
        The messages.
    """

    def __init__(self, code: GradientCode, trees: Trees) -> None:
        self._trees, self._shares = trees, PrefixSum()
        # by message; of a share that is complete None is left
        self._sums: Forest[Payload | None] = Forest(code, _add)

    def add(self, message: int, payload: Payload) -> None:
        complete = self._sums.put(message, payload)
        if complete is not None and self._trees.parent(complete) is None:
            root = self._sums.sums[complete]
            assert root is not None
            self._shares.add(complete // self._trees.n_nodes, root)
            self._sums.sums[complete] = None

    def total(self, decoding: Decoding) -> Vector:
        left: dict[int, Payload] = {}  # of shares that are not complete
        for message, payload in sorted(self._sums.sums.items()):
            if payload is not None:
                share = message // self._trees.n_nodes
                left[share] = add_payloads(left[share], payload) if share in left else payload
                self._sums.sums[message] = None
        for share, payload in left.items():
            self._shares.add(share, payload)
        return self._shares.total(decoding)


def _add(left: Payload | None, right: Payload | None) -> Payload:
    assert left is not None
    assert right is not None
    return add_payloads(left, right)
