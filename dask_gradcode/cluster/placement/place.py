"""Placing data: checks, the choice of the code and of the workers, and the way to a placement."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from distributed import Client, span
from distributed.deploy.cluster import Cluster

from dask_gradcode.cluster.client.session import session
from dask_gradcode.cluster.data.builder import Builder
from dask_gradcode.cluster.data.cuts import held_nbytes
from dask_gradcode.cluster.data.forms import check_inputs
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
from dask_gradcode.cluster.placement.enough import (
    await_workers,
    check_rows,
    check_workers,
    ready_workers,
    warn_of_few,
)
from dask_gradcode.cluster.placement.homes import apart, seats_of
from dask_gradcode.cluster.placement.imports import Imports
from dask_gradcode.cluster.placement.keeping import Keeping, State
from dask_gradcode.cluster.placement.making import builder_of, source_of
from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.cluster.placement.placing import Placing, Tell, telling
from dask_gradcode.cluster.placement.roles import Roles
from dask_gradcode.cluster.placement.storage import check_storage, choose_storage
from dask_gradcode.codes import GradientCode, Size
from dask_gradcode.containers import check_containers
from dask_gradcode.fingerprint import Moments
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
    keep: str | float | None = None,
    verbose: int | str = 0,
    callback: Callable[[Placing], object] | None = None,
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
    code : {"auto", "declustered", "fractional", "cyclic", "uncoded", ...} or GradientCode, \
            default="auto"
        Which worker holds which blocks. ``"auto"`` is declustered repetition where a round's time
        is computing: its tolerance costs no time while no worker is late. That is where a worker's
        share stores at least 2**24 values (each row counts as 16 more), and one for each number
        that all workers send in a round. Otherwise it is fractional repetition where
        ``n_stragglers + 1`` divides ``n_workers``, or cyclic repetition. The log says which.
    n_stragglers : int, optional
        How many workers may be silent. None: the code object's, else 1 (0 on a single worker).
    n_workers : int, optional
        How many workers to use. None: the code object's, else all of the cluster. Where a few of
        these are missing, others play two roles each until more join, with a warning.
    random_state : int, optional
        Seeds the code.
    storage : {"auto", "memory", "disk"}, default="auto"
        Where workers keep their blocks. ``"disk"``: in Dask's local directory, from where each
        round reads them, with the same bits; of the data a worker then holds two chunks of rows a
        thread in memory. ``"auto"`` takes the disk where blocks would fill more than half of a
        worker's memory limit.
    keep : str or float, optional
        For how long (``"1 hour"``, or seconds) workers keep the files of blocks on disk when this
        client has gone without closing the placement. The same call then takes them up again, if
        source, cuts, columns, dtypes, code and version are the same (see the guide, *Memory or
        disk*). None: files end with their client.
    verbose : int or "bar", default=0
        1 prints a line when a stage is done, and each second until then: chunks that are computed
        and checked, roles that are placed (on disk: pieces that are written), and how long the rest
        may take. ``"bar"`` draws a progress bar in a terminal or a notebook (needs rich).
    callback : callable, optional
        Is called with a :class:`~dask_gradcode.cluster.Placing` after each step.
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
        If the cluster has fewer workers than half the code's roles, or so few that the loss of one
        would not be tolerated; or if it loses too many while data is placed.
    OSError
        With ``storage="disk"``, if a worker cannot write there, or not as much.

    Warns
    -----
    UserWarning
        If the blocks of one worker would fill more than half of its memory limit and are not kept
        on disk, or if its local directory is no disk but memory, or a network disk. If workers play
        two roles each: it says how many may be silent.

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
        keep=keep,
        verbose=verbose,
        callback=callback,
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
    keep: str | float | None = None,
    verbose: int | str = 0,
    callback: Callable[[Placing], object] | None = None,
    check: Callable[[Targets, int], object] = lambda targets, n_features: None,
) -> Placement:
    """Place data in the name of an estimator, which its error texts then mention.

    ``check`` raises for targets that the estimator cannot use, or for so many features, before rows
    travel.
    """
    check_storage(storage, keep)
    check_containers(X=X, y=y, sample_weight=sample_weight)
    feature_names = _feature_names(X)
    X, y, sample_weight = check_inputs(X, y, sample_weight, estimator)
    with span("place"), ExitStack() as stack, telling(verbose, callback, estimator) as tell:
        given = {"X": X, "y": y, "sample_weight": sample_weight}
        lent = stack.enter_context(session(client, given))
        await_workers(lent, code, n_workers, tell)
        imports = Imports(lent)
        stack.callback(imports.release)
        addresses, starting = ready_workers(lent, imports)
        wishes = code, n_workers, n_stragglers, random_state
        choose, nbytes = _choice(lent, addresses, *wishes), likely_nbytes(X)
        likely = choose(likely_size(X))
        keeping = Keeping.of(lent, addresses, keep, given, feature_names, *wishes)
        storage = keeping.storage or choose_storage(storage, lent, addresses, likely, nbytes)
        source = source_of(lent, given, likely, addresses, starting, storage, keeping.groups)
        stack.callback(source.release)
        look = partial(describe, lent, source, estimator, addresses, tell)
        facts, where = keeping.look(look, source, choose)
        chosen = _code_for(choose, size_of(facts["X"]), code)
        check(Targets.merge(facts["y"]), facts["X"][0].n_features)
        if nbytes is None and storage != "disk":
            storage = choose_storage(storage, lent, addresses, chosen, held_nbytes(facts["X"]))
        state = keeping.state(chosen, facts, source)
        parts = source, state, addresses, imports, where, keeping
        builder, bring = builder_of(lent, storage, *parts)
        data = _placement(lent, bring, state, feature_names, keeping, stack)
        seats = seats_of(lent, chosen, addresses, builder, where, keeping.where)
        warn_of_few(chosen, seats)
        place_roles(lent, chosen, data.roles, seats, partial(_tell, tell, builder, data.roles))
        data.own(stack.pop_all())
    return data


def _placement(
    client: Client,
    bring: Deliveries,
    state: State,
    names: Any,
    keeping: Keeping,
    stack: ExitStack,
) -> Placement:
    """Return a placement of which no role is placed yet."""
    of_all = state.targets, state.borders, state.facts[0].n_features, names
    data = Placement(client, state.code, bring, *of_all)
    data.moments = sum((fact.moments for fact in state.facts), Moments())
    stack.callback(data.roles.release)
    stack.callback(keeping.forget, bring.uid)
    return data


def _tell(tell: Tell, builder: Builder, roles: Roles) -> None:
    """Tell how much has been written, and how many roles are placed once all has."""
    done, total = builder.written
    if done < total and roles.lost:
        tell("pieces written", done, total)
    else:
        n = len(roles.addresses)
        tell("roles placed", n - len(roles.lost), n)


def _choice(
    client: Client,
    addresses: Sequence[str],
    code: str | GradientCode,
    n_workers: int | None,
    n_stragglers: int | None,
    seed: int | None,
) -> Callable[[Size | None], GradientCode]:
    """Return how a code is chosen once the size of the data is known."""
    hosts = apart(client, addresses)

    def choose(size: Size | None) -> GradientCode:
        chosen = choose_code(code, n_workers, n_stragglers, seed, hosts, size)
        if size is not None or chosen is code:
            check_workers(client, addresses, chosen)
        return chosen

    return choose


def _code_for(
    choose: Callable[[Size], GradientCode], size: Size, given: str | GradientCode
) -> GradientCode:
    """Return the code for data whose size is known, and tell the log."""
    chosen = choose(size)
    logger.info("%d rows, %d values stored: coded by %r.", size.n_rows, size.n_values, chosen)
    advise(given, chosen)
    check_rows(size.n_rows, chosen)
    return chosen


def _feature_names(X: Any) -> Any:
    """Return the column names of a frame if all are strings, as scikit-learn does, else None."""
    names = getattr(X, "columns", None)
    if names is None or not all(isinstance(name, str) for name in names):
        return None
    return np.asarray(names, dtype=object)
