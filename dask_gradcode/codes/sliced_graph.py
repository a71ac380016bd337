"""Sums and differences of two slices, on a graph or a design: sends half, and is nearly exact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from dask_gradcode.codes.bounds import gershgorin_bound
from dask_gradcode.codes.decoding import Decoder
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.signed import SIGNS, SignedSlices
from dask_gradcode.codes.span import SpanDecoder
from dask_gradcode.codes.validation import check_int

__all__ = ["SlicedGraph"]

_SWAPS = 10  # pairs that are tried for each edge


@dataclass(frozen=True)
class SlicedGraph(SignedSlices):
    """An approximate code that sends half a payload: blocks and workers of a random graph.

    Each block is on ``degree`` workers, and each worker holds equally many blocks, by two random
    graphs of which one joins the blocks to the even workers and one to the odd ones. A worker adds
    up its blocks and cuts the sum into two slices. An even worker sends their sum, an odd one their
    difference. With all messages the sum over all blocks is exact. Where workers are silent, the
    others' messages are combined by least squares: what is missed of a block, and what is left of
    one slice in the other, is as little as can be.

    It is for rules that take what there is, such as :class:`~dask_gradcode.rounds.Deadline` and
    :class:`~dask_gradcode.rounds.Fastest`; with any other a round ends when the sum is exact. At
    the same load and with as much sent, ``SlicedRepetition(n_workers, s, n_slices=2)`` misses less
    where stragglers are random, and nothing with up to ``s`` of them; this one misses less where
    all of a group of that code is silent.

    Parameters
    ----------
    n_workers : int
        Number of workers, even.
    degree : int
        Workers that hold a block, even. It must divide ``n_workers * n_held``.
    n_held : int
        Blocks that a worker holds; there are ``n_workers * n_held / degree`` in all.
    seed : int, default=0
        Seed of the graphs.

    Attributes
    ----------
    n_stragglers : int
        Always 0: the sum is exact if nobody is silent, and more is not promised.

    Raises
    ------
    ValueError
        If an argument is out of range, or there is no such graph.

    References
    ----------
    .. [1] Munim and Ramamoorthy, "Communication-Efficient Approximate Gradient Coding", arXiv
       2603.22514.

    Examples
    --------
    Ten of forty workers are silent. Of forty slices of blocks so many are missed:

    >>> code = SlicedGraph(n_workers=40, degree=6, n_held=3)
    >>> code.n_blocks, code.load, code.messages[1].slices
    (20, 0.15, Slices(n_slices=2, first=0, weights=(1.0, -1.0)))
    >>> code.decode(code.available(range(40))).error < 1e-25
    True
    >>> round(40 * code.decode(code.available(range(10, 40))).error, 1)
    2.5
    >>> round(40 * code.upper_bound(range(10)), 1), 40 * code.lower_bound(10)
    (4.1, 2.0)
    """

    n_workers: int
    degree: int
    n_held: int
    seed: int = 0

    def __post_init__(self) -> None:
        check_int(self, "n_workers", 2, None, "[2, inf)")
        check_int(self, "degree", 2, self.n_workers + 1, "[2, n_workers]")
        check_int(self, "n_held", 1, None, "[1, inf)")
        check_int(self, "seed", 0, None, "[0, inf)")
        n, d, held = self.n_workers, self.degree, self.n_held
        if n % 2 or d % 2 or n * held % d:
            raise ValueError(
                "SlicedGraph needs an even n_workers, and an even degree that divides n_workers * "
                f"n_held, got n_workers={n}, degree={d} and n_held={held}.\nWith n_held equal to "
                "degree, or to half of it, any even numbers will do."
            )

    @property
    def n_blocks(self) -> int:
        return self.n_workers * self.n_held // self.degree

    @property
    def tolerance(self) -> str:
        return "no silent worker, if the sum is to be exact"

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        halves = [
            _random_graph(self.n_workers // 2, self.n_blocks, self.degree // 2, self.seed, i)
            for i in range(2)
        ]
        return tuple(
            Message(held := halves[worker % 2][worker // 2], (1.0,) * len(held), SIGNS[worker % 2])
            for worker in range(self.n_workers)
        )

    def decoder(self) -> Decoder:
        return SpanDecoder(self)

    def upper_bound(self, silent: Iterable[int]) -> float:
        """Return an error that is not exceeded where some workers are silent.

        Parameters
        ----------
        silent : iterable of int
            The workers.

        Returns
        -------
        float
            As ``Decoding.error``: times ``2 * n_blocks`` it is the squared error of the paper.

        Raises
        ------
        ValueError
            If some are no workers of the code.
        """
        return gershgorin_bound(self, silent)


@lru_cache  # drawn once a process: copies of a code arrive with every pickle
def _random_graph(
    n_workers: int, n_blocks: int, degree: int, seed: int, which: int
) -> tuple[tuple[int, ...], ...]:
    """Return which blocks each worker holds, ascending: equally many, each block on ``degree``.

    Random pairs of workers exchange a block each, if they do not have it.
    """
    rng, n_held = np.random.default_rng((seed, which)), n_blocks * degree // n_workers
    held = [{(i * n_held + j) % n_blocks for j in range(n_held)} for i in range(n_workers)]
    for one, other in rng.integers(n_workers, size=(_SWAPS * n_blocks * degree, 2)).tolist():
        mine, others = sorted(held[one] - held[other]), sorted(held[other] - held[one])
        if mine and others:
            block, back = mine[rng.integers(len(mine))], others[rng.integers(len(others))]
            held[one] = held[one] - {block} | {back}
            held[other] = held[other] - {back} | {block}
    return tuple(tuple(sorted(blocks)) for blocks in held)
