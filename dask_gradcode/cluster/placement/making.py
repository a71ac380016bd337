"""What a placement is made with: the chunks that data comes in, and what brings them to roles."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from distributed import Client

from dask_gradcode.cluster.client.mailbox import Mailbox
from dask_gradcode.cluster.client.session import workers_of
from dask_gradcode.cluster.client.whereabouts import Whereabouts
from dask_gradcode.cluster.data.builder import Builder
from dask_gradcode.cluster.data.cuts import runs
from dask_gradcode.cluster.data.disk_builder import DiskBuilder
from dask_gradcode.cluster.data.source import Source
from dask_gradcode.cluster.placement.casting import cast
from dask_gradcode.cluster.placement.deliveries import Deliveries
from dask_gradcode.cluster.placement.enough import check_rows
from dask_gradcode.cluster.placement.homes import anywhere, homes
from dask_gradcode.cluster.placement.imports import Imports
from dask_gradcode.cluster.placement.keeping import Keeping, State
from dask_gradcode.codes import GradientCode

__all__ = ["builder_of", "source_of"]

logger = logging.getLogger("dask_gradcode")


def source_of(
    client: Client,
    given: Mapping[str, Any],
    code: GradientCode,
    addresses: Sequence[str],
    starting: Sequence[str],
    storage: str,
    groups: Mapping[str, Sequence[range]] | None,
) -> Source:
    """Return the data's chunks, to be computed where such a code will want them."""
    X, y, sample_weight = (given[name] for name in ("X", "y", "sample_weight"))
    if np.isnan(X.shape[0]):
        logger.info("The rows of %d chunks are unknown: their workers count them.", X.numblocks[0])
    check_rows(X.shape[0], code)
    # Where workers are left over, they could compute chunks, too: Dask is not told where to.
    seats = cast(code, addresses, workers_of(client)) if code.n_workers >= len(addresses) else []
    home = homes(code, seats, starting) if seats else anywhere
    return Source(client, X, y, sample_weight, len(runs(code)), home, storage == "disk", groups)


def builder_of(
    client: Client,
    storage: str,
    source: Source,
    state: State,
    addresses: Sequence[str],
    imports: Imports,
    where: Mapping[tuple[str, int], str],
    keeping: Keeping,
) -> tuple[Builder, Deliveries]:
    """Return what builds shards, and what brings them to workers."""
    uid = uuid.uuid4().hex[:12]
    how = client, uid, state.code, source, state.lengths, state.borders, state.targets
    more = addresses, imports.before
    if storage == "disk":
        kept = keeping.keep(uid, state), keeping.where
        builder: Builder = DiskBuilder(*how, *more, state.facts, where, *kept)
    else:
        builder = Builder(*how, *more)
    return builder, Deliveries(client, uid, builder, Mailbox(client), Whereabouts(client))
