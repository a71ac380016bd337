"""Graph repetition: blocks are the vertices of a random regular graph, workers its edges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from math import comb

import numpy as np

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.components import Components, edge_weights
from dask_gradcode.codes.decoding import Decoder, Decoding
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.validation import check_int

__all__ = ["GraphRepetition"]

_Edges = tuple[tuple[int, int], ...]

TRIED = 10_000
"""Sets of stragglers that are tried to find out how many, whichever they are, are tolerated."""

_SWAPS, _ATTEMPTS = 10, 100  # pairs of edges that are tried for each edge, and how often at most


@dataclass(frozen=True)
class GraphRepetition(GradientCode):
    """An approximate code: each worker holds two blocks, each block is on ``degree`` workers.

    Blocks are the vertices of a random graph in which each has ``degree`` neighbours, and workers
    are its edges: a worker sends the sum of the two blocks that it joins. Workers that are silent
    are edges that are missing. What is left falls into components. If a component has a cycle of
    odd length, all its blocks are summed exactly. If not, it falls into two sides with edges only
    from one to the other, and is missed by as much as these differ in size. So few blocks are
    missed by much, whichever workers are silent, where a group of :class:`FractionalRepetition`
    with as many replicas is missed altogether if all of it is silent.

    It is for rules that take what there is, such as :class:`~dask_gradcode.rounds.Deadline` and
    :class:`~dask_gradcode.rounds.Fastest`; with any other a round ends when the sum is exact.

    Parameters
    ----------
    n_workers : int
        Number of workers, which are edges. ``degree`` must divide ``2 * n_workers``, and leave more
        than ``degree`` blocks.
    degree : int
        Workers that hold a block, 3 at least.
    seed : int, default=0
        Seed of the graph.

    Raises
    ------
    ValueError
        If an argument is out of range, or there is no such graph.

    References
    ----------
    .. [1] Glasgow and Wootters, "Approximate Gradient Coding with Optimal Decoding", IEEE Journal
       on Selected Areas in Information Theory, 2021.

    Examples
    --------
    Three of twelve workers are silent, first the three that hold block 0:

    >>> code = GraphRepetition(n_workers=12, degree=3)
    >>> code.n_blocks, code.load, code.n_stragglers
    (8, 0.25, 2)
    >>> code.decode(code.available(range(3, 12))).error
    0.125
    >>> code.decode(code.available(range(9))).error
    0.0
    """

    n_workers: int
    degree: int
    seed: int = 0

    def __post_init__(self) -> None:
        check_int(self, "n_workers", 1, None, "[1, inf)")
        check_int(self, "degree", 3, None, "[3, inf)")
        check_int(self, "seed", 0, None, "[0, inf)")
        step = self.degree if self.degree % 2 else self.degree // 2
        least = self.degree * (self.degree + 1) // 2
        if self.n_workers % step or self.n_workers < least:
            below = max(self.n_workers // step * step, least)
            raise ValueError(
                "GraphRepetition needs degree to divide 2 * n_workers, and more blocks "
                f"(2 * n_workers / degree) than degree, got n_workers={self.n_workers} and "
                f"degree={self.degree}.\nUse {below} or {below + step} workers."
            )
        _ = self._edges  # raises where no graph is found

    @property
    def n_blocks(self) -> int:
        return 2 * self.n_workers // self.degree

    @cached_property
    def n_stragglers(self) -> int:  # type: ignore[override]
        """How many silent workers, whichever they are, leave the sum exact, as far as is known.

        All sets of so many have been tried, or there are more than ten thousand of one more.
        """
        for n_lost in range(1, self.degree):
            if comb(self.n_workers, n_lost) > TRIED:
                return n_lost - 1
            if not all(map(self._is_exact_without, combinations(range(self.n_workers), n_lost))):
                return n_lost - 1
        return self.degree - 1  # without all the holders of a block it cannot be exact

    def _is_exact_without(self, lost: tuple[int, ...]) -> bool:
        left = (edge for worker, edge in enumerate(self._edges) if worker not in lost)
        return Components.of(self.n_blocks, left).n_short == 0

    @property
    def tolerance(self) -> str:
        return f"{self.n_stragglers} silent worker(s), whoever they are, and most sets of more"

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        return tuple(Message(edge, (1.0, 1.0)) for edge in self._edges)

    def decoder(self) -> Decoder:
        return _ByComponents(self)

    @property
    def _edges(self) -> _Edges:
        return _random_graph(self.n_blocks, self.degree, self.seed)


class _ByComponents(Decoder):
    """Follows the components of the graph that the messages make; weighs them in linear time."""

    def __init__(self, code: GraphRepetition) -> None:
        self._code = code
        self._arrived = np.zeros(code.n_workers, dtype=bool)
        self._components = Components(code.n_blocks)

    def add(self, message: int) -> bool:
        if not self._arrived[message]:
            self._arrived[message] = True
            self._components.join(*self._code._edges[message])
        return self._components.n_short == 0

    def decode(self) -> Decoding:
        code, weights = self._code, np.zeros(self._code.n_workers)
        arrived = np.flatnonzero(self._arrived).tolist()
        edges = [code._edges[message] for message in arrived]
        weights[arrived] = edge_weights(code.n_blocks, edges)
        return code.judge(weights)


@lru_cache  # drawn once a process: copies of a code arrive with every pickle
def _random_graph(n_vertices: int, degree: int, seed: int) -> _Edges:
    """Return the edges of a connected regular graph that has a cycle of odd length, in order.

    Random pairs of the edges of a circulant graph change partners until it is one.
    """
    rng, edges = np.random.default_rng(seed), _circulant(n_vertices, degree)
    for _ in range(_ATTEMPTS):
        _swap(edges, rng)
        components = Components.of(n_vertices, edges)
        if components.n_parts == 1 and components.is_odd(0):
            return tuple(sorted(edges))
    raise ValueError(
        f"No connected graph with cycles of odd length was found for {n_vertices} blocks on "
        f"{degree} workers each. Use another seed, or more workers."
    )


def _circulant(n_vertices: int, degree: int) -> list[tuple[int, int]]:
    """Return the edges from each vertex to the next ones and, if odd, to the opposite one."""
    steps = range(1, degree // 2 + 1)
    edges = {_edge(i, (i + step) % n_vertices) for step in steps for i in range(n_vertices)}
    if degree % 2:
        half = n_vertices // 2
        edges |= {(i, i + half) for i in range(half)}
    return sorted(edges)


def _swap(edges: list[tuple[int, int]], rng: np.random.Generator) -> None:
    """Let random pairs of edges change partners, where that makes no edge twice."""
    known = set(edges)
    n_tries = _SWAPS * len(edges)
    pairs = rng.integers(len(edges), size=(n_tries, 2)).tolist()
    turned = rng.integers(2, size=n_tries).tolist()
    for (i, j), turn in zip(pairs, turned, strict=True):
        (a, b), (c, d) = edges[i], edges[j][::-1] if turn else edges[j]
        if len({a, b, c, d}) < 4:
            continue
        new = _edge(a, d), _edge(c, b)
        if known.isdisjoint(new):
            known -= {edges[i], edges[j]}
            known.update(new)
            edges[i], edges[j] = new


def _edge(u: int, v: int) -> tuple[int, int]:
    return (u, v) if u < v else (v, u)
