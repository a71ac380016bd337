"""Placing data: checks, the choice of the code and of the workers, and the way to a placement."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from distributed import Client, span
from distributed.deploy.cluster import Cluster

from dask_gradcode.cluster.client.config import seconds
from dask_gradcode.cluster.client.mailbox import Mailbox
from dask_gradcode.cluster.client.session import session, workers_of
from dask_gradcode.cluster.client.whereabouts import Whereabouts
from dask_gradcode.cluster.data.builder import Builder
from dask_gradcode.cluster.data.cuts import XFacts, balance, runs
from dask_gradcode.cluster.data.disk_builder import DiskBuilder
from dask_gradcode.cluster.data.forms import check_inputs
from dask_gradcode.cluster.data.source import Source
from dask_gradcode.cluster.placement.begin import place_roles
from dask_gradcode.cluster.placement.codes import (
    advise,
    choose_code,
    likely_nbytes,
    likely_size,
    size_of,
)
from dask_gradcode.cluster.placement.deliveries import Deliveries
from dask_gradcode.cluster.placement.describe import describe
from dask_gradcode.cluster.placement.homes import anywhere, apart, homes, hosts_of, near, spread
from dask_gradcode.cluster.placement.imports import Imports
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.placement.storage import check_storage, choose_storage
from dask_gradcode.codes import GradientCode, Size
from dask_gradcode.containers import check_containers
from dask_gradcode.fingerprint import Moments
from dask_gradcode.rounds import InsufficientWorkersError
from dask_gradcode.targets import Targets

__all__ = ["place", "place_data"]

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
    storage: str = "auto",
    client: Client | Cluster | str | None = None,
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
    code : {"auto", "declustered", "fractional", "cyclic", "uncoded"} or GradientCode, \
            default="auto"
        Which worker holds which blocks. ``"auto"`` is declustered repetition, whose tolerance costs
        no time while nobody is late, where a round's time is computing: where a worker's share
        stores at least 2**24 values (each row counts as 16 more), and one for each number
        that all workers send in a round. Else it is fractional repetition where
        ``n_stragglers + 1`` divides ``n_workers``, or cyclic repetition. The log says which.
    n_stragglers : int, optional
        How many workers may be silent. None: the code object's, else 1 (0 on a single worker).
    n_workers : int, optional
        How many workers to use. None: the code object's, else all of the cluster.
    random_state : int, optional
        Seeds the code.
    storage : {"auto", "memory", "disk"}, default="auto"
        Where workers keep their blocks. ``"disk"``: in Dask's local directory, from where each
        round reads them, with the same bits; of the data a worker then holds two chunks of rows a
        thread in memory. ``"auto"`` takes the disk where blocks would fill more than half of a
        worker's memory limit.
    client : distributed.Client, Dask cluster or str, optional
        A client, a cluster such as a ``LocalCluster`` or a scheduler's address. None: the current
        client, else a ``LocalCluster`` that lives until the placement is closed.

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
    OSError
        With ``storage="disk"``, if a worker cannot write there, or not as much.

    Warns
    -----
    UserWarning
        If the blocks of one worker would fill more than half of its memory limit and are not kept
        on disk, or if its local directory is no disk but memory.

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
        storage=storage,
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
    client: Client | Cluster | str | None,
    estimator: str,
    storage: str = "auto",
    check: Callable[[Targets, int], object] | None = None,
) -> Placement:
    """Place data in the name of an estimator, which its error texts then mention.

    ``check`` raises for targets that the estimator cannot use, or for so many features, before rows
    travel.
    """
    check_storage(storage)
    check_containers(X=X, y=y, sample_weight=sample_weight)
    feature_names = _feature_names(X)
    X, y, sample_weight = check_inputs(X, y, sample_weight, estimator)
    with span("place"), ExitStack() as stack:
        given = {"X": X, "y": y, "sample_weight": sample_weight}
        lent = stack.enter_context(session(client, given))
        _await_workers(lent, code.n_workers if isinstance(code, GradientCode) else n_workers or 1)
        imports = Imports(lent)
        stack.callback(imports.release)
        addresses, starting = _workers(lent, imports)
        choose = _choice(lent, addresses, code, n_workers, n_stragglers, random_state)
        likely, nbytes = choose(likely_size(X)), likely_nbytes(X)
        storage = choose_storage(storage, lent, addresses, likely, nbytes)
        source = _source(lent, given, likely, addresses, starting, storage == "disk")
        stack.callback(source.release)
        facts, where = describe(lent, source, estimator, addresses)
        x_facts, lengths = facts["X"], {name: [f.n_rows for f in facts[name]] for name in facts}
        chosen = _code_for(choose, size_of(x_facts), code)
        targets, borders = Targets.merge(facts["y"]), balance(x_facts, chosen.n_blocks)
        if check is not None:
            check(targets, x_facts[0].n_features)
        if nbytes is None:
            storage = choose_storage(storage, lent, addresses, chosen, _nbytes(x_facts))
        uid = uuid.uuid4().hex[:12]
        how = lent, uid, chosen, source, lengths, borders, targets, addresses, imports.before
        builder = DiskBuilder(*how, x_facts, where) if storage == "disk" else Builder(*how)
        bring = Deliveries(lent, uid, builder, Mailbox(lent), Whereabouts(lent))
        names = x_facts[0].n_features, feature_names
        data = Placement(lent, chosen, bring, targets, borders, *names)
        data.moments = sum((fact.moments for fact in x_facts), Moments())
        stack.callback(data.roles.release)
        used = near(addresses[: chosen.n_workers], hosts_of(lent), builder, where)
        place_roles(lent, chosen, data.roles, used)
        data.own(stack.pop_all())
    return data


def _workers(client: Client, imports: Imports) -> tuple[list[str], list[str]]:
    """Return the workers, those that can read tasks first, and those that are starting yet."""
    addresses = spread(client)
    if not addresses:
        raise InsufficientWorkersError(
            f"The cluster at {client.scheduler_info()['address']} has no workers. Start some "
            "(client.wait_for_workers(n) waits for them)."
        )
    imports.wait(addresses, "Placing data")
    starting = [address for address in addresses if imports.before(address) is not None]
    return sorted(addresses, key=starting.count), starting


def _choice(
    client: Client,
    addresses: Sequence[str],
    code: str | GradientCode,
    n_workers: int | None,
    n_stragglers: int | None,
    seed: int | None,
) -> Callable[[Size | None], GradientCode]:
    """Return how a code is chosen once the size of the data is known."""
    return partial(choose_code, code, n_workers, n_stragglers, seed, apart(client, addresses))


def _nbytes(chunks: Sequence[XFacts]) -> int:
    return sum(chunk.nbytes for chunk in chunks)


def _code_for(
    choose: Callable[[Size], GradientCode], size: Size, given: str | GradientCode
) -> GradientCode:
    """Return the code for data whose size is known, and tell the log."""
    chosen = choose(size)
    logger.info("%d rows, %d values stored: coded by %r.", size.n_rows, size.n_values, chosen)
    advise(given, chosen)
    _check_rows(size.n_rows, chosen)
    return chosen


def _source(
    client: Client,
    given: Mapping[str, Any],
    code: GradientCode,
    addresses: Sequence[str],
    starting: Sequence[str],
    on_disk: bool,
) -> Source:
    """Return the data's chunks, to be computed where such a code will want them."""
    _check_enough(client, addresses, code)
    X, y, sample_weight = (given[name] for name in ("X", "y", "sample_weight"))
    if np.isnan(X.shape[0]):
        logger.info("The rows of %d chunks are unknown: their workers count them.", X.numblocks[0])
    _check_rows(X.shape[0], code)
    used = addresses[: code.n_workers]
    # Where workers are left over, they could compute chunks, too: Dask is not told where to.
    home = homes(code, used, starting) if len(used) == len(addresses) else anywhere
    return Source(client, X, y, sample_weight, len(runs(code)), home, on_disk)


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


def _check_enough(client: Client, addresses: Sequence[str], code: GradientCode) -> None:
    if code.n_workers > len(addresses):
        raise InsufficientWorkersError(
            f"The code needs {code.n_workers} workers, the cluster at "
            f"{client.scheduler_info()['address']} has {len(addresses)}. Start more workers "
            f"(client.wait_for_workers({code.n_workers}) waits for them), or use a code for fewer."
        )


def _check_rows(n_rows: float, code: GradientCode) -> None:
    if n_rows < code.n_blocks:
        raise ValueError(
            f"{code!r} cuts the data into {code.n_blocks} blocks, but it has only {int(n_rows)} "
            "rows. Use a code for fewer workers; data this small needs no cluster."
        )


def _feature_names(X: Any) -> Any:
    """Return the column names of a frame if all are strings, as scikit-learn does, else None."""
    names = getattr(X, "columns", None)
    if names is None or not all(isinstance(name, str) for name in names):
        return None
    return np.asarray(names, dtype=object)
