"""Frames on a socket pair: whatever is sent, cut anywhere, is read or refused, and no more."""

from __future__ import annotations

import socket
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_gradcode.cluster.worker import wire
from dask_gradcode.cluster.worker.errors import pack_error, unpack_error
from dask_gradcode.cluster.worker.wire import (
    TO_CLIENT,
    TO_WORKER,
    Closed,
    Frame,
    Kind,
    Reader,
    Unreadable,
    pack,
)
from frames import UNREADABLE, anything, cut, header, numbers, places


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def read_all(pieces: Sequence[bytes], kinds: Sequence[Kind], reuse: bool) -> list[tuple[int, ...]]:
    """Return what is read of some pieces, each read as far as it goes before the next is sent."""
    found: list[tuple[int, ...]] = []
    with pair() as (ours, theirs):
        reader = Reader(theirs, kinds, reuse)

        def read() -> None:
            frame = reader.read()
            while frame is not None:
                found.append((frame.kind, frame.round, frame.number, *frame.body.tolist()))
                frame = reader.read()

        for piece in pieces:
            ours.sendall(piece)
            read()
    return found


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Kind.ERROR, Kind.REFUSAL]), numbers, numbers, st.binary(max_size=40)
        ),
        max_size=6,
    ),
    places,
    st.booleans(),
)
def test_frames_are_read_as_they_were_packed_however_they_are_cut(
    frames: list[tuple[Kind, int, int, bytes]], places: list[int], reuse: bool
) -> None:
    sent = b"".join(bytes(part) for frame in frames for part in pack(*frame))
    expected = [(kind, round_, message, *body) for kind, round_, message, body in frames]
    assert read_all(cut(sent, places), TO_CLIENT, reuse) == expected


@given(anything, places, st.sampled_from([TO_WORKER, TO_CLIENT]), st.booleans())
def test_of_any_bytes_nothing_comes_but_frames_and_refusals(
    sent: bytes, places: list[int], kinds: Sequence[Kind], reuse: bool
) -> None:
    try:
        found = read_all(cut(sent, places), kinds, reuse)
    except Unreadable:
        return
    assert {frame[0] for frame in found} <= set(kinds)
    assert sum(28 + len(frame) - 3 for frame in found) <= len(sent)


@pytest.mark.parametrize(("sent", "why"), UNREADABLE.values(), ids=list(UNREADABLE))
def test_what_is_no_frame_is_refused_in_words_and_for_good(sent: bytes, why: str) -> None:
    with pair() as (ours, theirs):
        reader = Reader(theirs, TO_WORKER)
        ours.sendall(sent)
        for _ in range(2):
            with pytest.raises(Unreadable, match=why):
                reader.read()


@pytest.mark.parametrize("reuse", [False, True])
def test_a_header_gets_no_memory_for_what_it_only_claims(reuse: bool) -> None:
    with pair() as (ours, theirs):
        reader = Reader(theirs, TO_WORKER, reuse)
        ours.sendall(header(kind=Kind.JOB, size=1 << 39) + bytes(1000))
        tracemalloc.start()
        try:
            assert reader.read() is None
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 2 * wire._GRANT


@pytest.mark.parametrize("reuse", [False, True])
def test_a_body_larger_than_its_first_room_comes_whole(
    reuse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_GRANT", 100_000)
    bodies = [
        np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
        for seed, size in enumerate([1_000_003, 1_000_003, 99_999, 200_000, 100_000])
    ]
    with pair() as (ours, theirs):
        reader = Reader(theirs, TO_WORKER, reuse)

        def send() -> None:
            for body in bodies:
                ours.sendall(b"".join(pack(Kind.JOB, 0, 0, body)))

        sender = threading.Thread(target=send)
        sender.start()
        for body in bodies:
            frame: Frame | None = None
            while frame is None:
                frame = reader.read()
            np.testing.assert_array_equal(frame.body, body)
        sender.join()


def test_the_end_of_a_connection_is_told_in_the_middle_of_a_frame_too() -> None:
    with pair() as (ours, theirs):
        reader = Reader(theirs, TO_WORKER)
        ours.sendall(header(kind=Kind.JOB, size=100) + b"half")
        assert reader.read() is None
        ours.close()
        with pytest.raises(Closed, match="it closed the connection"):
            reader.read()


def test_an_error_arrives_as_it_was() -> None:
    error = unpack_error(pack_error(ModuleNotFoundError("No module named 'x'", name="x")))
    assert isinstance(error, ModuleNotFoundError)
    assert error.name == "x"


@given(st.binary(max_size=60))
def test_any_bytes_are_some_error(body: bytes) -> None:
    assert isinstance(unpack_error(body), BaseException)


def test_an_error_that_cannot_be_pickled_or_made_again_is_told_in_its_words() -> None:
    class Strange(Exception):
        def __init__(self, one: int, two: int) -> None:  # its pickle has no arguments
            super().__init__()

        def __repr__(self) -> str:
            return "the disk is on fire"

    locked = Exception(threading.Lock())
    assert "cannot be read here" in str(unpack_error(pack_error(Strange(1, 2))))
    assert "the disk is on fire" in str(unpack_error(pack_error(Strange(1, 2))))
    assert "lock" in str(unpack_error(pack_error(locked)))


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt()])
def test_an_exit_on_a_worker_is_none_on_the_client(error: BaseException) -> None:
    told = unpack_error(pack_error(error))
    assert isinstance(told, RuntimeError)
    assert repr(error) in str(told)
