"""Checks of all chunks where they are, before rows travel."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from distributed import Client, Future

from dask_gradcode.cluster.client.errands import collect_anywhere
from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.client.located import located
from dask_gradcode.cluster.data.cuts import XFacts, describe_X, describe_y
from dask_gradcode.cluster.data.forms import check_lengths
from dask_gradcode.cluster.data.source import Source
from dask_gradcode.cluster.placement.placing import Tell

__all__ = ["describe"]


def describe(
    client: Client,
    source: Source,
    estimator: str,
    among: Sequence[str],
    tell: Tell,
    known: Sequence[XFacts] = (),
) -> tuple[dict[str, list[Any]], dict[tuple[str, int], str]]:
    """Look at every chunk where it is, and raise for what cannot be used.

    Parameters
    ----------
    client : distributed.Client
        The client.
    source : Source
        The chunks. Which futures stand for them may change.
    estimator : str
        The estimator that asks, for the texts of errors.
    among : sequence of str
        The workers that were there when the chunks were begun.
    tell : callable
        Is told how many chunks have been looked at, of how many.
    known : sequence of XFacts, default=()
        What the chunks of X are of which none has been begun: they are not looked at.

    Returns
    -------
    facts : dict of str to list
        By array what each of its chunks is; the chunks of the weights are those of y.
    where : dict of tuple of str and int to str
        The worker that holds each chunk, by array and index.
    """
    errands: dict[tuple[str, int], _Errand] = {}
    for index in source.futures["X"]:
        look = partial(describe_X, source.expected("X", index))
        errands["X", index] = _Errand(client, source, ("X",), index, look, estimator)
    for index in source.futures["y"]:
        names = ("y", "sample_weight")
        errands["y", index] = _Errand(client, source, names, index, describe_y, estimator)
    told = partial(tell, "chunks checked")
    answers = collect_anywhere(client, errands, "Checking the data", among, told)
    where: dict[tuple[str, int], str] = {}
    for ticket, (attempt, answer) in answers.items():
        errands[ticket].keep(attempt)
        where |= {(name, ticket[1]): answer.worker for name in errands[ticket].names}
    for (name, index), (_, answer) in answers.items():
        problem = answer.value.problem
        if problem is not None:
            which = source.expected(name, index).what
            raise type(problem)(f"{which} (on {answer.worker}): {problem}")
    facts: dict[str, list[Any]] = {
        name: [
            answers[name, index][1].value if (name, index) in answers else known[index]
            for index in range(source.n_chunks[name])
        ]
        for name in ("X", "y")
    }
    n_rows = sum(fact.n_rows for fact in facts["X"])
    shape = (n_rows, facts["X"][0].n_features)
    check_lengths(n_rows, sum(fact.n_rows for fact in facts["y"]), estimator, shape)
    if sum(fact.weight for fact in facts["y"]) <= 0:
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return {**facts, "sample_weight": facts["y"]}, where


class _Errand:
    """Looks at a chunk, or at chunks that belong together, and again elsewhere if need be."""

    def __init__(
        self,
        client: Client,
        source: Source,
        names: tuple[str, ...],
        index: int,
        look: Callable[..., Any],
        estimator: str,
    ) -> None:
        self._client, self._source, self._index = client, source, index
        self._look, self._estimator = look, estimator
        self.names = tuple(name for name in names if source.futures[name])
        self._absent = [None] * (len(names) - len(self.names))  # there may be no sample weights
        self._attempts: list[list[Future[Any]]] = []

    def __str__(self) -> str:
        return f"chunk {self._index} of {' and '.join(self.names)}"

    def __call__(self, workers: Sequence[str] | None) -> Future[Any]:
        """Begin with the chunks that there are, or, if workers are given, with others."""
        if workers is None:
            chunks = [self._source.futures[name][self._index] for name in self.names]
        else:
            chunks = [self._source.again(name, self._index, workers) for name in self.names]
        self._attempts.append(chunks)
        return self._client.submit(
            located,
            self._look,
            *chunks,
            *self._absent,
            self._estimator,
            key=task_key("inspect", uuid.uuid4().hex[:12], self._index),
            workers=workers or None,
            allow_other_workers=bool(workers),
            pure=False,
        )

    def keep(self, attempt: int) -> None:
        """Keep the chunks of the attempt that was first, and let go of the other's."""
        for name, chunk in zip(self.names, self._attempts[attempt], strict=True):
            self._source.keep(name, self._index, chunk)
        for chunks in self._attempts[:attempt] + self._attempts[attempt + 1 :]:
            for chunk in chunks:
                chunk.release()
