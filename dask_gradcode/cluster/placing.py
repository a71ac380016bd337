"""Placing data: checks, the choice of the code and of the workers, and the way to a placement."""

from __future__ import annotations

import logging
import warnings
from contextlib import ExitStack
from typing import Any

import numpy as np
from dask.utils import format_bytes
from distributed import Client, Future

from dask_gradcode.cluster.blocks import (
    Source,
    XFacts,
    balance,
    check_inputs,
    check_lengths,
    describe_X,
    describe_y,
    submit_source,
)
from dask_gradcode.cluster.placement import Placement
from dask_gradcode.cluster.session import session
from dask_gradcode.cluster.waiting import collect
from dask_gradcode.codes import GradientCode, make_code
from dask_gradcode.rounds import InsufficientWorkersError
from dask_gradcode.targets import TargetFacts, Targets

__all__ = ["choose_code", "place", "place_data", "spread"]

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
        The features. Chunks of a dask array may be dense or scipy sparse; each is computed once and
        travels from worker to worker, never through the client. float32 stays float32 on the
        workers, which takes half the memory; all other numbers become float64.
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
) -> Placement:
    """Place data in the name of an estimator, which its error texts then mention."""
    feature_names = _feature_names(X)
    X, y, sample_weight = check_inputs(X, y, sample_weight, estimator)
    if np.isnan(X.shape[0]):
        logger.info("The rows of %d chunks are unknown: their workers count them.", X.numblocks[0])
    with ExitStack() as stack:
        lent = stack.enter_context(session(client))
        addresses = spread(lent)
        if not addresses:
            raise InsufficientWorkersError(
                f"The cluster at {lent.scheduler_info()['address']} has no workers. Start some "
                "(client.wait_for_workers(n) waits for them)."
            )
        chosen = choose_code(code, n_workers, n_stragglers, random_state, len(addresses))
        if chosen.n_workers > len(addresses):
            raise InsufficientWorkersError(
                f"The code needs {chosen.n_workers} workers, the cluster at "
                f"{lent.scheduler_info()['address']} has {len(addresses)}. Start more workers "
                f"(client.wait_for_workers({chosen.n_workers}) waits for them), or use a code for "
                "fewer."
            )
        _check_rows(X.shape[0], chosen)
        source = submit_source(lent, X, y, sample_weight, chosen.n_blocks)
        try:
            x_facts, y_facts = _describe(lent, source, estimator)
            _check_rows(sum(facts.n_rows for facts in x_facts), chosen)
            data = Placement(
                lent,
                chosen,
                addresses[: chosen.n_workers],
                Targets.merge(y_facts),
                x_facts[0].n_features,
                feature_names,
            )
            _warn_of_memory(lent, data, sum(facts.nbytes for facts in x_facts))
            stack.callback(data.release)
            borders = balance(x_facts, chosen.n_blocks)
            data.build(source, borders, [f.n_rows for f in x_facts], [f.n_rows for f in y_facts])
        finally:
            source.release()
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


def spread(client: Client) -> list[str]:
    """Return the workers' addresses, hosts in turn: a block's replicas go to different hosts.

    Codes give replicas to neighbouring roles, so neighbours come from different hosts.
    """
    by_host: dict[str, list[str]] = {}
    workers = client.scheduler_info(n_workers=-1)["workers"]
    for address, worker in sorted(workers.items()):
        by_host.setdefault(worker["host"], []).append(address)
    rounds = max(map(len, by_host.values()), default=0)
    return [host[i] for i in range(rounds) for host in by_host.values() if i < len(host)]


# ---------------------------------------------------------------- checks


def _describe(
    client: Client, source: Source, estimator: str
) -> tuple[list[XFacts], list[TargetFacts]]:
    """Look at every chunk where it is, and raise for what cannot be used."""
    weights = list[Any](source.sample_weight) or [None] * len(source.y)
    tasks: dict[tuple[str, int], Future[Any]] = {
        ("X", i): client.submit(describe_X, chunk, estimator, pure=False)
        for i, chunk in enumerate(source.X)
    }
    tasks |= {
        ("y", i): client.submit(describe_y, *chunks, estimator, pure=False)
        for i, chunks in enumerate(zip(source.y, weights, strict=True))
    }
    facts = collect(client, tasks, "Checking the data")
    for (name, i), fact in facts.items():
        if fact.problem is not None:
            raise ValueError(f"{fact.problem}, chunk {i} of {name}")
    x_facts = [facts["X", i] for i in range(len(source.X))]
    y_facts = [facts["y", i] for i in range(len(source.y))]
    n_rows = sum(fact.n_rows for fact in x_facts)
    shape = (n_rows, x_facts[0].n_features)
    check_lengths(n_rows, sum(fact.n_rows for fact in y_facts), estimator, shape)
    if sum(fact.weight for fact in y_facts) <= 0:
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return x_facts, y_facts


def _check_rows(n_rows: float, code: GradientCode) -> None:
    if n_rows < code.n_blocks:
        raise ValueError(
            f"{code!r} cuts the data into {code.n_blocks} blocks, but it has only {int(n_rows)} "
            "rows. Use a code for fewer workers; data this small needs no cluster."
        )


def _warn_of_memory(client: Client, data: Placement, nbytes: int) -> None:
    """Warn when a worker's blocks would leave it too little memory to work in."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    limits = [workers[a]["memory_limit"] for a in data.addresses.values() if a in workers]
    limit = min((limit for limit in limits if limit), default=0)
    held = int(data.code.load * nbytes)
    if limit and held > 0.5 * limit:
        warnings.warn(
            f"Each worker will hold {data.code.load:.0%} of the data, {format_bytes(held)}, of its "
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
