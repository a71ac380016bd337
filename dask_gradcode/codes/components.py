"""What the edges of a graph can give its vertices: by components, in linear time.

An edge with a weight gives this weight to both of its ends. In a component with a cycle of odd
length weights can be found that give every vertex just one. One without falls into two sides with
edges only between them, so both sides get the same in all: where they are of different size, the
best that can be had is one more or less, by the share by which they differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dask_gradcode.typing import Vector

__all__ = ["Components", "edge_weights"]


class Components:
    """Components of a graph that gets its edges one by one.

    Parameters
    ----------
    n_vertices : int
        Number of vertices, each a component at first.

    Attributes
    ----------
    n_parts : int
        Number of components.
    n_short : int
        Number of components whose vertices cannot all be given one.

    Examples
    --------
    >>> components = Components(3)
    >>> components.join(0, 1)
    >>> components.n_parts, components.n_short
    (2, 1)
    >>> components.join(1, 2)
    >>> components.n_parts, components.n_short
    (1, 1)
    >>> components.join(2, 0)
    >>> components.n_short, components.is_odd(0)
    (0, True)
    """

    def __init__(self, n_vertices: int) -> None:
        self.n_parts = self.n_short = n_vertices
        self._above = [*range(n_vertices)]  # a root is above itself
        self._differs = [False] * n_vertices  # whether it is on the other side than that above it
        # of the component, by root:
        self._size = [1] * n_vertices
        self._lead = [1] * n_vertices  # vertices on the root's side less vertices on the other
        self._odd = [False] * n_vertices  # whether it has a cycle of odd length

    @classmethod
    def of(cls, n_vertices: int, edges: Iterable[tuple[int, int]]) -> Components:
        """Return the components of a graph with these edges."""
        components = cls(n_vertices)
        for edge in edges:
            components.join(*edge)
        return components

    def join(self, u: int, v: int) -> None:
        """Add an edge."""
        (a, a_side), (b, b_side) = self._find(u), self._find(v)
        self.n_short -= self._is_short(a) + (a != b and self._is_short(b))
        if a == b:
            self._odd[a] = self._odd[a] or a_side == b_side
        else:
            if self._size[a] < self._size[b]:
                a, b = b, a
            self._put_below(a, b, differs=a_side == b_side)
        self.n_short += self._is_short(a)

    def is_odd(self, vertex: int) -> bool:
        """Say whether a vertex's component has a cycle of odd length."""
        return self._odd[self._find(vertex)[0]]

    def _is_short(self, root: int) -> bool:
        return not self._odd[root] and self._lead[root] != 0

    def _put_below(self, a: int, b: int, *, differs: bool) -> None:
        """Let the root ``a`` be above the root ``b``."""
        self.n_parts -= 1
        self._above[b], self._differs[b] = a, differs
        self._size[a] += self._size[b]
        self._lead[a] += -self._lead[b] if differs else self._lead[b]
        self._odd[a] = self._odd[a] or self._odd[b]

    def _find(self, vertex: int) -> tuple[int, bool]:
        """Return the root of a vertex, and whether it is on the other side than that."""
        above, differs = self._above, self._differs
        side = False
        while above[vertex] != vertex:
            side ^= differs[vertex]
            vertex = above[vertex]
        return vertex, side


def edge_weights(n_vertices: int, edges: Sequence[tuple[int, int]]) -> Vector:
    """Return weights that give every vertex as nearly one as can be.

    Parameters
    ----------
    n_vertices : int
        Number of vertices.
    edges : sequence of tuple of int
        Their ends; none twice.

    Returns
    -------
    ndarray of shape (n_edges,)
        By least squares over the vertices. Found on spanning trees, so most are zero where there
        are many edges.

    Examples
    --------
    A triangle, and a star of three, whose sides differ by a third:

    >>> edge_weights(6, [(0, 1), (1, 2), (0, 2), (3, 4), (3, 5)])
    array([0.5       , 0.5       , 0.5       , 0.66666667, 0.66666667])
    """
    weights = np.zeros(len(edges))
    neighbours: list[list[tuple[int, int]]] = [[] for _ in range(n_vertices)]
    for index, (u, v) in enumerate(edges):
        neighbours[u].append((v, index))
        neighbours[v].append((u, index))
    side: dict[int, int] = {}  # 1 or -1, of the vertices that have been seen
    for start in range(n_vertices):
        if start not in side:
            _weigh(start, neighbours, side, weights)
    return weights


def _weigh(
    start: int, neighbours: list[list[tuple[int, int]]], side: dict[int, int], weights: Vector
) -> None:
    """Set the weights of the component of a vertex."""
    side[start] = 1
    tree = [(start, -1, -1)]  # vertex, the one above it, the edge to that; from the root down
    odd: tuple[int, int, int] | None = None  # an edge within a side, and its ends
    for vertex, above, _ in tree:
        for other, edge in neighbours[vertex]:
            if other not in side:
                side[other] = -side[vertex]
                tree.append((other, vertex, edge))
            elif other != above and side[other] == side[vertex]:
                odd = odd or (vertex, other, edge)
    surplus = sum(side[vertex] for vertex, *_ in tree)  # of the root's side
    wanted = dict.fromkeys((vertex for vertex, *_ in tree), 1.0)
    if odd is not None:  # what one side has too much of goes there
        u, v, edge = odd
        weights[edge] = side[u] * surplus / 2
        for vertex in (u, v):
            wanted[vertex] -= weights[edge]
    else:
        for vertex in wanted:
            wanted[vertex] -= side[vertex] * surplus / len(tree)
    for vertex, above, edge in reversed(tree[1:]):  # from the leaves up
        weights[edge] = wanted[vertex]
        wanted[above] -= wanted[vertex]
