"""What may be sent to a reader of frames: whole ones, broken ones, anything; cut anywhere."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st

from dask_gradcode.cluster.worker.wire import VERSION, Kind

__all__ = ["HUGE", "UNREADABLE", "anything", "cut", "header", "numbers", "places"]

HUGE = 1 << 60


def header(
    mark: bytes = b"GC",
    version: int = VERSION,
    kind: int = Kind.JOB,
    round: int = 0,
    number: int = 0,
    size: int = 0,
) -> bytes:
    return struct.pack("<2sBBqqq", mark, version, kind, round, number, size)


def cut(sent: bytes, places: Sequence[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(sent) + 1) for place in places), len(sent)]
    return [sent[start:stop] for start, stop in pairwise(borders)]


numbers = st.integers(-(2**63), 2**63 - 1)
sizes = st.one_of(st.integers(-16, 64), st.sampled_from([1 << 16, 1 << 39, HUGE, -HUGE]))
headers = st.builds(
    header,
    mark=st.sampled_from([b"GC", b"GC", b"GC", b"GE"]),
    version=st.sampled_from([VERSION, VERSION, VERSION, VERSION + 1]),
    kind=st.integers(0, 10),
    round=numbers,
    number=st.one_of(sizes, numbers),
    size=sizes,
)
anything = st.lists(st.one_of(headers, st.binary(max_size=80)), max_size=8).map(b"".join)
places = st.lists(st.integers(0, 1 << 20), max_size=6)


UNREADABLE = {
    "rubbish": (b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n", r"begins with b'GC', but b'GET / HT"),
    "version": (header(version=VERSION + 1), "the same version of dask_gradcode"),
    "kind": (header(kind=77), "kind 77 came where one of JOB, BEGIN, ASK, YIELD, DROP is expected"),
    "direction": (header(kind=Kind.ANSWER), "kind 3 came where one of JOB, BEGIN, ASK"),
    "huge": (header(kind=Kind.JOB, size=HUGE), f"frame JOB of {HUGE} bytes"),
    "negative": (header(kind=Kind.JOB, size=-1), "frame JOB of -1 bytes"),
    "odd": (header(kind=Kind.BEGIN, size=13), "frame BEGIN of 13 bytes"),
    "too-many-asks": (header(kind=Kind.BEGIN, number=3, size=24), "does not fit its number 3"),
    "asks-below-none": (header(kind=Kind.BEGIN, number=-1, size=16), "does not fit its number"),
    "nothing-but-asks": (header(kind=Kind.BEGIN, number=2, size=24), "does not fit its number 2"),
    "asks": (header(kind=Kind.ASK, number=2, size=8), "frame ASK of 8 bytes"),
    "drops": (header(kind=Kind.DROP, number=2, size=8), "frame DROP of 8 bytes"),
    "yields": (header(kind=Kind.YIELD, size=8), "frame YIELD of 8 bytes"),
}
