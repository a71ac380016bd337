"""Placing data: checks, the choice of the code and of the workers, and the way to a placement."""

from __future__ import annotations

import logging
import uuid
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from dask.utils import format_bytes
from distributed import Client, Future, span

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.cluster.client.session import session, workers_of
from dask_gradcode.cluster.client.waiting import collect_anywhere, located
from dask_gradcode.cluster.data.builder import Builder
from dask_gradcode.cluster.data.cuts import balance, describe_X, describe_y
from dask_gradcode.cluster.data.forms import check_inputs, check_lengths
from dask_gradcode.cluster.data.source import Source
from dask_gradcode.cluster.placement.homes import anywhere, homes, hosts_of, near, spread
from dask_gradcode.cluster.placement.imports import Imports
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.codes import GradientCode, make_code
from dask_gradcode.containers import check_containers
from dask_gradcode.fingerprint import Moments
from dask_gradcode.rounds import InsufficientWorkersError
from dask_gradcode.targets import Targets

__all__ = ["choose_code", "place", "place_data"]

logger = logging.getLogger("dask_gradcode")


def place(
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    code: str | GradientCode = "auto",
    n_stragglers: int | None = None,
    n_workers: int | None = None,
    random_state: int | None = None,
    client: Client | str | None = None,
) -> Placement:
    """Put the blocks of a data set on the workers once, for many fits.

    Parameters
    ----------
    X : dask array, ndarray, CSR array or frame of shape (n_samples, n_features)
        The features. Chunks of a dask array may be dense or sparse, scipy's or pydata's; of a dask
        frame, columns are taken by name in every partition. Each chunk is computed once and travels
        from worker to worker, never through the client. float32 stays float32 on the workers, which
        takes half the memory; all other numbers become float64.
    y : array-like or dask array of shape (n_samples,)
        The targets, chunked like X or otherwise.
    sample_weight : array-like or dask array of shape (n_samples,) or float, optional
        Weight of each row.
    code : {"auto", "fractional", "cyclic", "uncoded"} or GradientCode, default="auto"
        Which worker holds which blocks. ``"auto"`` is fractional repetition where
        ``n_stragglers + 1`` divides ``n_workers``, else cyclic repetition.
    n_stragglers : int, optional
        How many workers may be silent. None: the code object's, else 1 (0 on a single worker).
    n_workers : int, optional
        How many workers to use. None: the code object's, else all of the cluster.
    random_state : int, optional
        Seeds the code.
    client : distributed.Client or str, optional
        A client or a scheduler's address. None: the current client, else a ``LocalCluster`` that
        lives until the placement is closed.

    Returns
    -------
    Placement
        A context manager; ``close()`` frees the workers' memory.

    Raises
    ------
    ValueError
        For data or parameters that cannot be used, before any work where that can be known.
    InsufficientWorkersError
        If the cluster has too few workers, or loses too many while data is placed.

    Warns
    -----
    UserWarning
        If the blocks of one worker would fill more than half of its memory limit.

    Examples
    --------
    >>> import numpy as np
    >>> from distributed import Client
    >>> X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    >>> with Client(processes=False, n_workers=2, dashboard_address=":0") as client:
    ...     with place(X, y, n_stragglers=1, client=client) as data:
    ...         print(data.code, data.replica(1, 0).compute(), sep=chr(10))
    FractionalRepetition(n_workers=2, n_stragglers=1)
    [[0. 1.]
     [2. 3.]]
    """
    return place_data(
        X,
        y,
        sample_weight=sample_weight,
        code=code,
        n_stragglers=n_stragglers,
        n_workers=n_workers,
        random_state=random_state,
        client=client,
        estimator="place",
    )


def place_data(
    X: Any,
    y: Any,
    *,
    sample_weight: Any,
    code: str | GradientCode,
    n_stragglers: int | None,
    n_workers: int | None,
    random_state: int | None,
    client: Client | str | None,
    estimator: str,
    check: Callable[[Targets], object] | None = None,
) -> Placement:
    """Place data in the name of an estimator, which its error texts then mention.

    ``check`` raises for targets that the estimator cannot use, before rows travel.
    """
    check_containers(X=X, y=y, sample_weight=sample_weight)
    feature_names = _feature_names(X)
    X, y, sample_weight = check_inputs(X, y, sample_weight, estimator)
    if np.isnan(X.shape[0]):
        logger.info("The rows of %d chunks are unknown: their workers count them.", X.numblocks[0])
    with span("place"), ExitStack() as stack:
        given = {"X": X, "y": y, "sample_weight": sample_weight}
        lent = stack.enter_context(session(client, given))
        _await_workers(lent, code.n_workers if isinstance(code, GradientCode) else n_workers or 1)
        addresses = spread(lent)
        if not addresses:
            raise InsufficientWorkersError(
                f"The cluster at {lent.scheduler_info()['address']} has no workers. Start some "
                "(client.wait_for_workers(n) waits for them)."
            )
        imports = Imports(lent)
        stack.callback(imports.release)
        imports.wait(addresses, "Placing data")
        starting = [a for a in addresses if imports.before(a) is not None]
        addresses.sort(key=starting.count)  # who has answered comes first, in the same order
        chosen = choose_code(code, n_workers, n_stragglers, random_state, len(addresses))
        if chosen.n_workers > len(addresses):
            raise InsufficientWorkersError(
                f"The code needs {chosen.n_workers} workers, the cluster at "
                f"{lent.scheduler_info()['address']} has {len(addresses)}. Start more workers "
                f"(client.wait_for_workers({chosen.n_workers}) waits for them), or use a code for "
                "fewer."
            )
        _check_rows(X.shape[0], chosen)
        used = addresses[: chosen.n_workers]
        # Where spares could compute chunks too, Dask is not told where to.
        home = homes(chosen, used, starting) if len(used) == len(addresses) else anywhere
        source = Source(lent, X, y, sample_weight, chosen.n_blocks, home)
        stack.callback(source.release)
        facts, where = _describe(lent, source, estimator)
        x_facts, y_facts = facts["X"], facts["y"]
        _check_rows(sum(fact.n_rows for fact in x_facts), chosen)
        lengths = {name: [fact.n_rows for fact in found] for name, found in facts.items()}
        targets, borders = Targets.merge(y_facts), balance(x_facts, chosen.n_blocks)
        if check is not None:
            check(targets)
        data = Placement(lent, chosen, targets, borders, x_facts[0].n_features, feature_names)
        data.moments = sum((fact.moments for fact in x_facts), Moments())
        stack.callback(data.release)
        nbytes = sum(fact.nbytes for fact in x_facts)
        _warn_of_memory(lent, chosen, used, nbytes)
        builder = Builder(lent, data.uid, chosen, source, lengths, borders, targets, imports.before)
        data.build(builder, near(used, hosts_of(lent), builder, where), where)
        data.own(stack.pop_all())
    return data


def choose_code(
    code: str | GradientCode,
    n_workers: int | None,
    n_stragglers: int | None,
    seed: int | None,
    available: int,
) -> GradientCode:
    """Return the code that a user's parameters stand for.

    Parameters
    ----------
    code : str or GradientCode
        A name, or the code itself.
    n_workers, n_stragglers, seed : int or None
        As given by the user.
    available : int
        How many workers the cluster has: used where ``n_workers`` is None.

    Raises
    ------
    ValueError
        If the parameters contradict each other or fit no code.
    TypeError
        If ``code`` is neither a name nor a code.
    """
    if isinstance(code, GradientCode):
        for name, value in (("n_workers", n_workers), ("n_stragglers", n_stragglers)):
            if value is not None and value != getattr(code, name):
                raise ValueError(
                    f"{name}={value} contradicts code={code!r}. Leave {name} out, or change the "
                    "code."
                )
        return code
    if not isinstance(code, str):
        raise TypeError(f"code must be a name or a GradientCode, got {code!r}.")
    n = available if n_workers is None else n_workers
    if n_stragglers is None:
        n_stragglers = 0 if code == "uncoded" or n == 1 else 1
    return make_code(code, n, n_stragglers, 0 if seed is None else seed)


# ---------------------------------------------------------------- checks


def _await_workers(client: Client, n_workers: int) -> None:
    """Wait for workers that are only starting, anew after a death or for an adaptive cluster."""
    if len(workers_of(client)) >= n_workers:
        return
    logger.warning("Waiting for workers: %d are needed.", n_workers)
    wanted = client.submit(int, pure=False)  # an adaptive cluster starts none that have no work
    try:
        client.wait_for_workers(n_workers, timeout=max(0.1, seconds("gradcode.timeouts.workers")))
    except TimeoutError:
        pass  # whether it can be done with those that are there is for the caller to say
    finally:
        wanted.release()


def _describe(
    client: Client, source: Source, estimator: str
) -> tuple[dict[str, list[Any]], dict[tuple[str, int], str]]:
    """Look at every chunk where it is, and raise for what cannot be used.

    Returns
    -------
    facts : dict of str to list
        By array what each of its chunks is; those of the weights are those of y.
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
    answers = collect_anywhere(client, errands, "Checking the data")
    where: dict[tuple[str, int], str] = {}
    for ticket, (attempt, answer) in answers.items():
        errands[ticket].keep(attempt)
        where |= {(name, ticket[1]): answer.worker for name in errands[ticket].names}
    for (name, index), (_, answer) in answers.items():
        problem = answer.value.problem
        if problem is not None:
            raise type(problem)(f"{problem} (on {answer.worker}), chunk {index} of {name}")
    facts = {
        name: [answers[name, index][1].value for index in range(len(source.futures[name]))]
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
        """Begin; on some of the workers, if they are given, as long as one of them is there."""
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
            workers=workers,
            allow_other_workers=workers is not None,
            pure=False,
        )

    def keep(self, attempt: int) -> None:
        """Keep the chunks of the attempt that was first, and let go of the other's."""
        for number, chunks in enumerate(self._attempts):
            for name, chunk in zip(self.names, chunks, strict=True):
                if number == attempt:
                    self._source.futures[name][self._index] = chunk
                else:
                    chunk.release()


def _check_rows(n_rows: float, code: GradientCode) -> None:
    if n_rows < code.n_blocks:
        raise ValueError(
            f"{code!r} cuts the data into {code.n_blocks} blocks, but it has only {int(n_rows)} "
            "rows. Use a code for fewer workers; data this small needs no cluster."
        )


def _warn_of_memory(client: Client, code: GradientCode, where: Sequence[str], nbytes: int) -> None:
    """Warn when a worker's blocks would leave it too little memory to work in."""
    workers = workers_of(client)
    limits = [workers[address]["memory_limit"] for address in where if address in workers]
    limit = min((limit for limit in limits if limit), default=0)
    held = int(code.load * nbytes)
    if limit and held > 0.5 * limit:
        warnings.warn(
            f"Each worker will hold {code.load:.0%} of the data, {format_bytes(held)}, of its "
            f"memory limit of {format_bytes(limit)}. Use more workers or fewer n_stragglers.",
            UserWarning,
            stacklevel=4,
        )


def _feature_names(X: Any) -> Any:
    """Return the column names of a frame if all are strings, as scikit-learn does, else None."""
    names = getattr(X, "columns", None)
    if names is None or not all(isinstance(name, str) for name in names):
        return None
    return np.asarray(names, dtype=object)
