"""Making real workers slow, or their sums wrong, for tests and experiments."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client, Future, wait
from distributed.protocol.pickle import dumps

from dask_gradcode.cluster.client.session import check_client, workers_of
from dask_gradcode.cluster.client.waiting import collect
from dask_gradcode.cluster.placement.imports import Imports
from dask_gradcode.cluster.worker.delays import await_begin, await_end, hold
from dask_gradcode.cluster.worker.lies import Lies
from dask_gradcode.cluster.worker.throttle import Throttle
from dask_gradcode.stragglers import LossyLinks, StragglerModel

__all__ = ["inject"]

logger = logging.getLogger("dask_gradcode")

_END_WITHIN = 10.0  # seconds for a clean end, on workers that may be gone


@contextmanager
def inject(client: Client, model: StragglerModel | Throttle | LossyLinks | Lies) -> Iterator[None]:
    """Have the workers of a cluster be as late and as slow as a straggler model says.

    Or have them send slowly, with a :class:`~dask_gradcode.cluster.Throttle`, or send wrong sums,
    with :class:`~dask_gradcode.cluster.Lies`; or, of codes whose workers exchange what they
    compute, lose what they send each other and the client, with
    :class:`~dask_gradcode.stragglers.LossyLinks`. What such a link loses is not waited for.

    In each round a worker does nothing for its *delay*, then looks what is wanted of it. As in life
    it cannot be interrupted meanwhile: it works on the newest round once it is back, and that
    round's delay comes first (with ``transport="tasks"`` it has, after a silence of several rounds,
    to answer the one that it was left with before that). Where it has a *slowdown*, it then waits
    after each chunk of rows, or after each block of a block function, until that has taken so many
    times as long; a newer round ends that wait at once, as it ends computing.

    On leaving the context all delays and slowdowns end at once, even any that would never end, and
    they end with the client if that dies. Workers stay alive: their heartbeats go on. A worker that
    joins later is not concerned. Of contexts within each other delays add up, slowdowns multiply.

    Parameters
    ----------
    client : distributed.Client
        A synchronous client. All its workers are concerned, whatever uses them: the model's worker
        ``i`` is role ``i`` of the code.
    model : StragglerModel, Throttle, LossyLinks or Lies
        Delays and slowdowns, by the round's number, which begins at 0 with each fit; or how many
        bytes a worker sends in a second; or what is lost, by the round's number; or which workers
        send what wrong sums.

    Yields
    ------
    None
        While the context lasts, the workers are late and slow.

    Raises
    ------
    InsufficientWorkersError
        If a worker is gone, or stays frozen for ``gradcode.timeouts.recover``.
    TypeError
        If ``model`` is none of these.

    Examples
    --------
    Nobody waits for worker 1.

    >>> import numpy as np
    >>> from distributed import Client
    >>> from dask_gradcode import place
    >>> from dask_gradcode.cluster import ClusterObjective, inject
    >>> from dask_gradcode.losses import Logistic
    >>> from dask_gradcode.stragglers import NeverAnswers
    >>> X, y = np.array([[1.0], [-1.0], [2.0], [-3.0]]), np.array([1, 0, 1, 0])
    >>> with Client(processes=False, n_workers=2, dashboard_address=":0") as client:
    ...     with place(X, y, n_stragglers=1, client=client) as data:
    ...         with inject(client, NeverAnswers(workers=[1])):
    ...             with ClusterObjective(data, Logistic()) as objective:
    ...                 seen = objective(np.zeros(1))
    >>> seen.gradient, seen.record.not_needed
    (array([-3.5]), (1,))
    """
    if not isinstance(model, StragglerModel | Throttle | LossyLinks | Lies):
        raise TypeError(
            f"model must be a StragglerModel, a Throttle, LossyLinks or Lies, got {model!r}. "
            "dask_gradcode.stragglers has several models."
        )
    check_client(client)
    token = uuid.uuid4().hex[:12]
    addresses = list(workers_of(client))

    def on_each(what: str, function: Callable[..., None], *args: Any) -> dict[str, Future[Any]]:
        return {
            address: client.submit(
                function,
                *args,
                key=("gradcode-inject", token, what, address),
                workers=[address],
                allow_other_workers=False,
                pure=False,
            )
            for address in addresses
        }

    imports = Imports(client)
    try:
        imports.wait(addresses, "Injecting")
    finally:
        imports.release()
    held = on_each("hold", hold, dumps(model), token)
    try:
        pinned = {address: address for address in addresses}
        try:
            collect(client, on_each("begin", await_begin, token), "Injecting", pinned=pinned)
        except TimeoutError:
            for future in held.values():
                if future.status == "error":  # the model cannot be read there
                    future.result()
            raise
        yield
    finally:
        for future in held.values():
            future.release()
        if client.status == "running":
            _await_ends(on_each("end", await_end, token))


def _await_ends(ends: dict[str, Future[Any]]) -> None:
    try:
        wait(list(ends.values()), timeout=_END_WITHIN)
    except TimeoutError:  # a dead worker has nothing left, a frozen one ends it on waking
        late = [address for address, future in ends.items() if not future.done()]
        logger.warning("Workers that do not answer: their injected delays end later. %s", late)
    finally:
        for future in ends.values():
            future.release()
