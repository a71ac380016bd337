"""The chunks that data comes in: each computed once, and once more only if its worker is silent."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from dask._task_spec import convert_legacy_graph, cull
from dask.delayed import Delayed
from distributed import Client, Future

from dask_gradcode.cluster.blocks import cut, is_dask
from dask_gradcode.cluster.config import large_arguments

__all__ = ["Source"]

ARRAYS = ("X", "y", "sample_weight")


class Source:
    """The chunks of X, y and the sample weights: where they come from, and futures of them.

    The chunks of y and of the weights have the same rows each; those of X may be others. What is
    needed to compute a chunk again is kept: a worker that holds the only copy may be lost.

    Parameters
    ----------
    client : distributed.Client
        The client.
    X, y, sample_weight : dask array or ndarray
        Checked arrays; ``sample_weight`` may be None.
    n_chunks : int
        Into how many chunks arrays in memory are cut.

    Attributes
    ----------
    futures : dict of str to dict of int to Future
        The chunks of ``"X"``, ``"y"`` and ``"sample_weight"`` by their index; none after release.
    """

    def __init__(self, client: Client, X: Any, y: Any, sample_weight: Any, n_chunks: int) -> None:
        self._client = client
        arrays = dict(zip(ARRAYS, (X, y, sample_weight), strict=True))
        self._recipes: dict[str, list[Any]] = {
            name: [] if array is None else _recipes(array, n_chunks)
            for name, array in arrays.items()
        }
        # all in one call: what two chunks have in common is computed once
        flat = iter(self._compute([part for parts in self._recipes.values() for part in parts]))
        self.futures: dict[str, dict[int, Future[Any]]] = {
            name: {index: next(flat) for index in range(len(parts))}
            for name, parts in self._recipes.items()
        }

    def again(self, name: str, index: int, workers: Sequence[str]) -> Future[Any]:
        """Compute a chunk once more, on some of the workers only.

        A chunk that the user has persisted is not computed but copied, as this client does not know
        what it was computed from.
        """
        recipe = self._recipes[name][index]
        if isinstance(recipe, Delayed):
            recipe = _renamed(recipe)
        return self._compute([recipe], workers)[0]

    def release(self) -> None:
        """Let go of all chunks; those that the user persisted stay with the user."""
        for futures in self.futures.values():
            while futures:
                futures.popitem()[1].release()

    def _compute(self, recipes: list[Any], workers: Sequence[str] | None = None) -> list[Any]:
        where: Any = {"workers": workers, "allow_other_workers": False} if workers else {}
        if recipes and isinstance(recipes[0], Delayed):
            return list(self._client.compute(recipes, **where))
        # As arguments of tasks rather than by scatter: a scatter to a frozen worker never returns,
        # and Dask can compute a task's result again.
        with large_arguments():
            return [self._client.submit(_itself, part, pure=False, **where) for part in recipes]


def _recipes(array: Any, n_chunks: int) -> list[Any]:
    if is_dask(array):
        return list(array.to_delayed().ravel())
    borders = cut(array.shape[0], min(n_chunks, array.shape[0]))
    return [array[start:stop] for start, stop in pairwise(borders)]


def _itself(part: Any) -> Any:
    return part


def _renamed(recipe: Delayed) -> Delayed:
    """Return the same computation under new keys, for Dask would not run one key twice."""
    graph = dict(recipe.__dask_graph__())
    held = {key: node for key, node in graph.items() if isinstance(node, Future)}
    tasks = {key: node for key, node in graph.items() if key not in held}
    nodes = cull(convert_legacy_graph(tasks, all_keys=set(graph)), [recipe.key])
    again = uuid.uuid4().hex[:12]
    names: dict[Any, Any] = {key: ("gradcode-again", again, i) for i, key in enumerate(nodes)}
    renamed = {names[key]: node.substitute(names, key=names[key]) for key, node in nodes.items()}
    return Delayed(names.get(recipe.key, recipe.key), {**held, **renamed})
