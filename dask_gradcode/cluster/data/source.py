"""The chunks that data comes in: each computed once, and once more only if its worker is silent."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from dask._task_spec import Task, TaskRef, convert_legacy_graph, cull
from dask.core import flatten
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.utils import ensure_dict
from distributed import Client, Future

from dask_gradcode.cluster.client.config import large_arguments
from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.data.chunk import Expected
from dask_gradcode.cluster.data.cuts import cut
from dask_gradcode.cluster.data.groups import group, join_rows
from dask_gradcode.cluster.data.lazy import is_dask
from dask_gradcode.cluster.data.shard import itself
from dask_gradcode.cluster.data.stash import stash

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
    home : callable
        ``home(position)`` is the worker that should compute a chunk, or None for any. The position
        is where the middle of the chunk's rows lies among all rows, in [0, 1]; where lengths are
        unknown, all count the same. A wish only: Dask computes elsewhere if that worker is gone.
    on_disk : bool, default=False
        Whether chunks of X wait on the disks of their workers, as they are too many for memory.
    groups : mapping of str to sequence of range, optional
        Which chunks are taken together, as a source of the same arrays had them. The chunks of X
        are then there already, elsewhere: none is begun until it is asked for.

    Attributes
    ----------
    groups : dict of str to list of range
        Which chunks of each array are taken together.
    futures : dict of str to dict of int to Future
        The chunks of ``"X"``, ``"y"`` and ``"sample_weight"`` by their index; none after release.
    """

    def __init__(
        self,
        client: Client,
        X: Any,
        y: Any,
        sample_weight: Any,
        n_chunks: int,
        home: Callable[[float], str | None],
        on_disk: bool = False,
        groups: Mapping[str, Sequence[range]] | None = None,
    ) -> None:
        self._on_disk = on_disk
        self._client, self._uid = client, uuid.uuid4().hex[:12]
        given = zip(ARRAYS, (X, y, sample_weight), strict=True)
        arrays = {name: array for name, array in given if array is not None}
        at = {name: [home(x) for x in _middles(array, n_chunks)] for name, array in arrays.items()}
        self._rows = {name: _rows(array, n_chunks) for name, array in arrays.items()}
        self._n_features = X.shape[1]
        self.groups = {
            name: list(groups[name])
            if groups is not None
            else group([_nbytes(array, n) for n in self._rows[name]], at[name], n_chunks)
            if is_dask(X)
            else [range(i, i + 1) for i in range(len(at[name]))]
            for name, array in arrays.items()
        }
        self._recipes: dict[str, list[Any]]
        self.futures: dict[str, dict[int, Future[Any]]] = {name: {} for name in ARRAYS}
        self._at = at
        if is_dask(X):
            self._recipes = self._delayed(arrays, at)
        else:
            self._recipes = {name: _cut(array, n_chunks) for name, array in arrays.items()}
        self.begin([name for name in arrays if groups is None or name != "X"])

    def begin(self, names: Sequence[str]) -> None:
        """Have all chunks of some arrays computed, or sent.

        In one call: what two chunks have in common is then computed once.
        """
        parts = [(name, part) for name in names for part in self._recipes[name]]
        if all(isinstance(part, Delayed) for _, part in parts):
            found = iter(self._client.compute([part for _, part in parts]))
        else:
            workers = (worker for name in names for worker in self._at[name])
            sent = zip(parts, workers, strict=True)
            found = iter(self._send(name, part, worker) for (name, part), worker in sent)
        for name in names:
            self.futures[name] = {index: next(found) for index in range(len(self._recipes[name]))}

    @property
    def n_chunks(self) -> dict[str, int]:
        """How many chunks each array has that there is, whether begun or not."""
        return {name: len(recipes) for name, recipes in self._recipes.items()}

    def expected(self, name: str, index: int) -> Expected:
        """Return what an array says of one of its chunks, or of chunks that are taken together."""
        chunks = self.groups[name][index]
        which = f"Chunk {chunks[0]}" if len(chunks) == 1 else f"Chunks {chunks[0]} to {chunks[-1]}"
        n_rows = sum(self._rows[name][chunk] for chunk in chunks)
        shape = (n_rows, *([self._n_features] if name == "X" else ()))
        return Expected(f"{which} of {name}", shape)

    def again(self, name: str, index: int, workers: Sequence[str] = ()) -> Future[Any]:
        """Compute a chunk once more, under a new key, if possible on some of the workers.

        Where none are named, or they have gone, it is computed on any. A chunk that the user has
        persisted is not computed but copied, as this client does not know what it was computed
        from.
        """
        recipe = self._recipes[name][index]
        if not isinstance(recipe, Delayed):
            return self._send(name, recipe, workers)
        held = recipe.__dask_graph__()[recipe.key]
        if isinstance(held, Future):
            return self._send(name, held, workers)
        future: Future[Any] = self._client.compute(
            _renamed(recipe), workers=list(workers) or None, allow_other_workers=bool(workers)
        )
        return future

    def persisted(self, name: str, index: int) -> list[Any]:
        """Return the keys that a chunk is made from and that only Dask can compute again."""
        recipe = self._recipes[name][index]
        if not isinstance(recipe, Delayed):
            return []
        graph, found, stack = recipe.__dask_graph__(), [], [recipe.key]
        while stack:
            node = graph.get(stack.pop())
            if isinstance(node, Future):
                found.append(node.key)
            stack += getattr(node, "dependencies", ())
        return found

    def keep(self, name: str, index: int, future: Future[Any]) -> None:
        """Have another future stand for a chunk; the one before is let go."""
        before = self.futures[name].get(index)
        self.futures[name][index] = future
        if before is not None and before is not future:
            before.release()

    def release(self) -> None:
        """Let go of all chunks; those that the user persisted stay with the user."""
        for futures in self.futures.values():
            while futures:
                futures.popitem()[1].release()

    def _delayed(
        self, arrays: Mapping[str, Any], at: Mapping[str, Sequence[str | None]]
    ) -> dict[str, list[Any]]:
        """Return what the chunks of dask arrays are computed from, in one graph.

        The arrays are optimized together: apart, each would compute in its own tasks what they
        share.
        """
        keys = {name: list(flatten(array.__dask_keys__())) for name, array in arrays.items()}
        merged = HighLevelGraph.merge(*(array.dask for array in arrays.values()))
        optimized = next(iter(arrays.values())).__dask_optimize__(merged, list(keys.values()))
        # Dask leaves out what has been persisted
        held = {key: task for key, task in merged.items() if isinstance(task, Future)}
        tasks, layer = held | ensure_dict(optimized), f"gradcode-source-{uuid.uuid4().hex}"
        wanted: dict[str, dict[Any, str | None]] = {name: {} for name in keys}
        for name, groups in self.groups.items():
            for index, chunks in enumerate(groups):
                key = keys[name][chunks[0]]
                if len(chunks) > 1:
                    key = task_key("join", self._uid, name, index)
                    tasks[key] = self._join(name, key, [(c, keys[name][c]) for c in chunks])
                if self._on_disk and name == "X" and not isinstance(tasks[key], Future):
                    chunk, key = key, task_key("stash", self._uid, index)
                    tasks[key] = Task(key, stash, TaskRef(chunk))
                wanted[name][key] = at[name][chunks[0]]
        homes = _workers(tasks, {key: x for found in wanted.values() for key, x in found.items()})
        # Dask asks for the annotation of each task by its key
        asked = {"workers": homes.get, "allow_other_workers": True}
        graph = HighLevelGraph({layer: MaterializedLayer(tasks, annotations=asked)}, {layer: set()})
        return {name: [Delayed(k, graph, layer=layer) for k in wanted[name]] for name in keys}

    def _join(self, name: str, key: Any, chunks: Sequence[tuple[int, Any]]) -> Task:
        """Return the task that takes chunks together, each given by its index and its key."""
        width = (self._n_features,) if name == "X" else ()
        said = [
            Expected(f"Chunk {chunk} of {name}", (self._rows[name][chunk], *width))
            for chunk, _ in chunks
        ]
        return Task(key, join_rows, said, *(TaskRef(needed) for _, needed in chunks))

    def _send(self, name: str, part: Any, workers: Any) -> Future[Any]:
        # As an argument of a task rather than by scatter: a scatter to a frozen worker never
        # returns, and Dask can compute a task's result again.
        where: Any = {"workers": workers, "allow_other_workers": True}
        with large_arguments():
            return self._client.submit(
                stash if self._on_disk and name == "X" else itself,
                part,
                key=task_key("chunk", self._uid),
                pure=False,
                **(where if workers else {}),
            )


def _workers(tasks: Mapping[Any, Any], wanted: Mapping[Any, str | None]) -> dict[Any, str | None]:
    """Return the worker for each task: that of the only chunks that need it, or None."""
    found = dict(wanted)
    for key, worker in wanted.items():
        stack = [key]
        while stack:
            for needed in getattr(tasks[stack.pop()], "dependencies", ()):
                at = worker if found.get(needed, worker) == worker else None
                if needed in tasks and needed not in wanted and found.get(needed, "") != at:
                    found[needed] = at
                    stack.append(needed)
    return found


def _cut(array: Any, n_chunks: int) -> list[Any]:
    """Return the chunks of an array in memory."""
    borders = cut(array.shape[0], min(n_chunks, array.shape[0]))
    return [array[start:stop] for start, stop in pairwise(borders)]


def _rows(array: Any, n_chunks: int) -> list[float]:
    """Return the rows of each chunk; NaN where they are not known."""
    if is_dask(array):
        return list(array.chunks[0])
    return [float(rows) for rows in np.diff(cut(array.shape[0], min(n_chunks, array.shape[0])))]


def _nbytes(array: Any, n_rows: float) -> float:
    """Return the bytes of a chunk if it is dense."""
    width = array.shape[1] if array.ndim == 2 else 1
    return n_rows * width * float(array.dtype.itemsize)


def _middles(array: Any, n_chunks: int) -> list[float]:
    """Return where the middle of each chunk lies among all rows, as a share of them."""
    rows = np.asarray(_rows(array, n_chunks), dtype=float)
    if np.isnan(rows).any() or not rows.any():
        rows = np.ones(len(rows))
    ends = np.cumsum(rows)
    return [float(middle) for middle in (ends - rows / 2) / ends[-1]]


def _renamed(recipe: Delayed) -> Delayed:
    """Return the same computation under new keys, for Dask would not run one key twice."""
    graph = dict(recipe.__dask_graph__())
    held = {key: node for key, node in graph.items() if isinstance(node, Future)}
    tasks = {key: node for key, node in graph.items() if key not in held}
    nodes = cull(convert_legacy_graph(tasks, all_keys=set(graph)), [recipe.key])
    again = uuid.uuid4().hex[:12]
    names: dict[Any, Any] = {key: task_key("again", again, i) for i, key in enumerate(nodes)}
    renamed = {names[key]: node.substitute(names, key=names[key]) for key, node in nodes.items()}
    return Delayed(names.get(recipe.key, recipe.key), {**held, **renamed})
