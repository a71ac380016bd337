"""A placement as an HTML card: which worker plays which role, with which blocks; which are lost."""

from __future__ import annotations

from html import escape

from dask.utils import format_bytes
from distributed.comm.addressing import get_address_host

from dask_gradcode.cluster.placement.placement import Placement
from dask_gradcode.html import card, facts, folded, mark, ranges, table

__all__ = ["placement_card"]

_LISTED = 32  # roles


def placement_card(data: Placement) -> str:
    """Return the HTML card of a placement, as things are now.

    Parameters
    ----------
    data : Placement
        Open or closed.

    Returns
    -------
    str
        HTML that needs nothing else.
    """
    code, addresses, placed, lost = data.code, data.addresses, list(data.shards), data.lost
    nbytes = sum(data.roles.nbytes[role] for role in placed)
    workers = {addresses[role] for role in placed}
    hosts = set(map(get_address_host, workers))
    if data.is_open:
        state = mark(f"{len(placed)} of {code.n_workers} roles placed", "bad" if lost else "good")
    else:
        state = mark("closed", "note")
    numbers = {
        "state": state,
        "data": f"{data.n_samples:,} samples x {data.n_features:,} features",
        "blocks": f"{code.n_blocks:,}, of {_spread(data)} rows",
        (
            "in memory" if data.storage == "memory" else "on disk"
        ): f"{format_bytes(nbytes)} on {len(workers)} worker(s), {len(hosts)} host(s)",
        "code": f"<code>{escape(repr(code).split('  #')[0])}</code>",
        "tolerates": escape(code.tolerance),
    }
    # lost workers are what one looks for
    roles = sorted(addresses, key=lambda role: (data.is_open and role not in lost, role))
    left = len(roles) - _LISTED
    return card(
        "Placement",
        facts(numbers),
        below=[
            folded(
                "Roles",
                table(
                    ["role", "worker", "blocks", "rows", "bytes", "state"],
                    [_row(data, role) for role in roles[:_LISTED]],
                    f"{left:,} roles are left out." if left > 0 else "",
                ),
                is_open=True,
            ),
            folded("Code", code._repr_html_()),
        ],
    )


def _row(data: Placement, role: int) -> tuple[str | int, ...]:
    blocks, address, why = data.code.blocks_of(role), data.addresses[role], data.lost.get(role)
    if why is not None:
        why = why.removeprefix(f"{address}: ")
        state = mark(f"not placed: {why}", "bad" if data.is_open else "note")
    elif role in data.roles.recovered:
        state = mark("recovered", "good")
    else:
        state = "placed"
    return (
        str(role),
        escape(address),
        ranges(blocks),
        int(data.block_rows[list(blocks)].sum()),
        "" if why is not None else format_bytes(data.roles.nbytes[role]),
        state,
    )


def _spread(data: Placement) -> str:
    """Return the rows of the smallest and the largest block."""
    least, most = int(data.block_rows.min()), int(data.block_rows.max())
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
