"""A data set on the workers: its shards, each pinned to the worker of its role."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import reduce
from operator import itemgetter
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.delayed import delayed
from dask.utils import parse_timedelta
from distributed import Client, Future

from dask_gradcode.cluster.client.forks import forked_error, is_inherited
from dask_gradcode.cluster.client.liveness import Liveness
from dask_gradcode.cluster.client.session import workers_of
from dask_gradcode.cluster.data.columns import Columns
from dask_gradcode.cluster.data.shard import features_of
from dask_gradcode.cluster.placement.begin import await_roles
from dask_gradcode.cluster.placement.deliveries import Deliveries
from dask_gradcode.cluster.placement.roles import Roles
from dask_gradcode.cluster.worker.serving import Serving
from dask_gradcode.codes import GradientCode
from dask_gradcode.fingerprint import Moments
from dask_gradcode.spread import Spread
from dask_gradcode.targets import Targets
from dask_gradcode.typing import Vector

__all__ = ["Placement"]


class Placement:
    """A data set on the workers: one shard of blocks for each role of a code.

    Made by :func:`dask_gradcode.place`, not by hand. Use it as a context manager, or call
    ``close()``.

    Parameters
    ----------
    client : distributed.Client
        The cluster's client.
    code : GradientCode
        The code by which blocks are placed.
    deliveries : Deliveries
        Brings roles to workers.
    targets : Targets
        Labels, their counts and the sums of sample weights.
    borders : sequence of int, length n_blocks + 1
        The first row of each block, then the number of rows.
    n_features : int
        Number of columns of the data set.
    feature_names : ndarray of shape (n_features,) or None
        Names of the columns.

    Attributes
    ----------
    n_samples : int
        Number of rows of the data set.
    moments : Moments
        By which the features are known again.
    block_rows : ndarray of shape (n_blocks,)
        Rows of each block.
    storage : {"memory", "disk"}
        Where workers keep their blocks.
    roles : Roles
        Which worker plays which role of the code, now.

    Examples
    --------
    >>> from distributed import Client
    >>> from dask_gradcode import place
    >>> X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    >>> with Client(processes=False, n_workers=2, dashboard_address=":0") as client:
    ...     with place(X, y, n_stragglers=1, client=client) as data:
    ...         print(data)
    Placement(4 samples x 2 features, FractionalRepetition(n_workers=2, n_stragglers=1))
    """

    def __init__(
        self,
        client: Client,
        code: GradientCode,
        deliveries: Deliveries,
        targets: Targets,
        borders: Sequence[int],
        n_features: int,
        feature_names: Any,
    ) -> None:
        self.client, self.code, self.targets = client, code, targets
        self.n_features, self.feature_names = n_features, feature_names
        self.n_samples, self.moments = borders[-1], Moments()
        self.block_rows: Vector = np.diff(borders).astype(float)
        self.uid, self.storage = deliveries.uid, deliveries.storage
        self.serving = Serving(client, self.uid)
        self.roles = Roles(code, self.serving, deliveries, Liveness.of(client))
        self.columns = Columns(n_features, self.roles.columns)
        self._owned: ExitStack | None = None

    def __repr__(self) -> str:
        state = f", lost={self.lost}" if self.lost else ""
        return (
            f"Placement({self.n_samples} samples x {self.n_features} features, {self.code!r}"
            f"{state}{', closed' if not self.shards else ''})"
        )

    def _repr_html_(self) -> str:
        """Return a card for notebooks: which worker plays which role, with how much data."""
        from dask_gradcode.cluster.placement.card import placement_card

        return placement_card(self)

    @property
    def spread(self) -> Spread:
        """How far the columns of the features spread, sample weights counted."""
        found = [spread for _, spread in sorted(self.roles.spreads.items(), key=itemgetter(0))]
        n = self.n_features
        parts = (part if columns is None else part.widened(columns, n) for part, columns in found)
        return reduce(Spread.__add__, parts)

    @property
    def addresses(self) -> dict[int, str]:
        """The worker of each role: where it is, was, or is being placed."""
        return self.roles.addresses

    @property
    def shards(self) -> dict[int, Future[Any]]:
        """The shard of each role that is placed, as a future."""
        return self.roles.shards

    @property
    def lost(self) -> dict[int, str]:
        """The roles that are not placed, and why: dead, or on their way to another worker."""
        return self.roles.lost

    def __enter__(self) -> Placement:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError(
            "A Placement cannot be pickled or copied: it is this client's hold on data that lie on "
            "its workers. Pass X and y themselves, persisted dask arrays say, and place them where "
            "they are needed."
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "A Placement has no rows to take: its data lie on the workers. It is for fit alone; "
            "give GridSearchCV, cross_val_score and predict X and y themselves, as dask arrays."
        )

    def own(self, resources: ExitStack) -> None:
        """Take over what is to be given back when the placement is closed."""
        self._owned = resources

    def close(self) -> None:
        """Free the workers' memory, and close the cluster if ``place`` started it."""
        if self._owned is not None:
            owned, self._owned = self._owned, None
            owned.close()

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed."""
        return self._owned is not None

    def check_open(self) -> None:
        """Raise RuntimeError if it or its client is closed, or its data restarted or cancelled."""
        if self._owned is None:
            raise RuntimeError("The placed data has been closed. Place it anew with place(X, y).")
        if is_inherited(self.client):
            raise forked_error(self.client)
        self.roles.check_restart()
        if self.client.status not in ("running", "connecting"):
            raise RuntimeError(
                f"The Dask client of the placed data is {self.client.status}. "
                "Create a new Client and place the data anew."
            )
        if self._cancelled():
            workers_of(self.client)  # meanwhile who has let go of a shard takes it off the list
            roles = sorted(self._cancelled())
            if roles:
                raise RuntimeError(
                    f"The placed data is gone: that of the roles {roles} has been cancelled "
                    "(client.cancel) since it was placed. Place it anew with place(X, y)."
                )

    def _cancelled(self) -> set[int]:
        """Return the roles of which the user has cancelled the shard.

        The client has forgotten these; it still knows shards that the scheduler gives up.
        """
        known = self.client.futures
        return {
            role
            for role, shard in self.shards.items()
            if shard.status == "cancelled" and shard.key not in known
        }

    def wait(self, timeout: float | str | None = None) -> None:
        """Wait until all roles of the code are placed, and none on a worker that will leave.

        ``place`` returns, and rounds begin, as soon as enough of them are; the others join later,
        and so do roles that were lost. A worker will leave if Dask is retiring it, or if
        :func:`~dask_gradcode.cluster.drain` has said so.

        Parameters
        ----------
        timeout : float or str, optional
            Seconds, or a text such as ``"2 minutes"``. None: as long as it takes.

        Raises
        ------
        TimeoutError
            If some are not placed by then, or about to leave. It names them.
        InsufficientWorkersError
            If one is given up, as placing it has failed too often.
        RuntimeError
            If the placement or its client is closed, or the cluster has been restarted.

        Examples
        --------
        >>> from distributed import Client
        >>> from dask_gradcode import place
        >>> X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
        >>> with Client(processes=False, n_workers=2, dashboard_address=":0") as client:
        ...     with place(X, y, n_stragglers=1, client=client) as data:
        ...         data.wait(timeout=60)
        ...         print(data.lost)
        {}
        """
        end = None if timeout is None else time.monotonic() + float(parse_timedelta(timeout))
        await_roles(self.roles, self.code, end, self.check_open)

    def replica(self, role: int, block: int) -> da.Array:
        """Return the features of a block, as one role holds them, as a dask array.

        Parameters
        ----------
        role : int
            The code worker, 0 to ``n_workers - 1``.
        block : int
            One of ``code.blocks_of(role)``.

        Returns
        -------
        dask.array.Array of shape (n_rows of the block, n_features)
            One chunk, computed from the shard where that is.

        Raises
        ------
        ValueError
            If the role does not hold the block, or its worker is gone.
        """
        self.check_open()
        shard = self.shards.get(role)
        if shard is None:
            raise ValueError(
                f"Role {role} holds nothing: {self.lost.get(role, 'there is no such role')}."
            )
        if block not in self.code.blocks_of(role):
            raise ValueError(
                f"Role {role} does not hold block {block}; it holds {self.code.blocks_of(role)}."
            )
        with dask.annotate(  # type: ignore[attr-defined]
            workers=[self.addresses[role]], allow_other_workers=False
        ):
            rows = delayed(features_of)(shard, block)
        shape = (int(self.block_rows[block]), self.n_features)
        return da.from_delayed(rows, shape, meta=self.roles.meta)
