"""A desk on socket pairs, in a thread: what one visitor sends is no other visitor's matter."""

from __future__ import annotations

import importlib
import pickle
import re
import selectors
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed.protocol.pickle import dumps
from hypothesis import given

from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.cluster.transport.link import Link, Refused
from dask_gradcode.cluster.worker.desk import Desk
from dask_gradcode.cluster.worker.errors import unpack_error
from dask_gradcode.cluster.worker.wire import (
    TO_CLIENT,
    VERSION,
    Closed,
    Frame,
    Kind,
    Reader,
    Unreadable,
    pack,
)
from dask_gradcode.several import abreast
from dask_gradcode.typing import Vector
from dask_gradcode.work import Block, as_work
from frames import HUGE, UNREADABLE, anything, cut, header, places
from helpers import count_rows, wait_until
from visits import CODE, Visit, visit_for

SHARD = Shard(0, {block: Block(np.ones((3, 1)), np.zeros(3)) for block in (0, 1)})

begun, gate = threading.Event(), threading.Event()


def gated(w: Vector, block: Block) -> tuple[float, Vector]:
    begun.set()
    gate.wait()
    return count_rows(w, block)


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """One desk for all: none of these tests ends it."""
    desk = Desk(SHARD)
    serving = threading.Thread(target=desk.run)
    serving.start()
    yield desk
    desk.close()
    serving.join()


@pytest.fixture
def other(desk: Desk) -> Iterator[Visit]:
    """Another fit on the same desk, which goes on."""
    visit = visit_for(desk)
    visit.works()
    yield visit
    visit.works()
    visit.close()


def refused(visit: Visit) -> BaseException:
    with pytest.raises(Refused) as told:
        visit.next()
    with pytest.raises(Closed):
        visit.next()
    visit.close()
    return told.value.error


@pytest.fixture
def only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a context with a module that nobody can import later."""

    @contextmanager
    def imported(source: str) -> Iterator[Any]:
        (tmp_path / "only_here.py").write_text(source)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path)
            yield importlib.import_module("only_here")
            sys.modules.pop("only_here")

    return imported


STRANGE = """
from dask_gradcode.codes import FractionalRepetition

class Strange(FractionalRepetition):
    pass

def work(w, block):
    return 1.0, w
"""


@pytest.mark.parametrize("what", ["code", "work"])
def test_what_cannot_be_imported_is_told_for_every_message(
    desk: Desk, other: Visit, only_here: Any, what: str
) -> None:
    with only_here(STRANGE) as module:
        code, work = (module.Strange(2, 1), count_rows) if what == "code" else (CODE, module.work)
        link = Link(0, "here", code, dumps(as_work(work)))
    visit = Visit(desk, link)
    for _ in range(2):
        visit.begin(np.zeros(2), 0)
        error = visit.error()
        assert isinstance(error, ModuleNotFoundError)
        assert error.name == "only_here"
        assert error.__notes__ == ["while reading the code and the work of a fit"]
    visit.close()


def test_a_module_that_exits_when_it_is_imported_ends_no_desk(
    desk: Desk, other: Visit, only_here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with only_here("def work(w, block): return 1.0, w") as module:
        link = Link(0, "here", CODE, dumps(as_work(module.work)))
    (tmp_path / "only_here.py").write_text("raise SystemExit(3)")
    importlib.invalidate_caches()
    monkeypatch.syspath_prepend(tmp_path)
    visit = Visit(desk, link)
    visit.begin(np.zeros(2), 0)
    assert "SystemExit(3)" in str(visit.error())
    visit.close()


def leave(w: Vector, block: Block) -> tuple[float, Vector]:
    raise SystemExit(0)


def test_work_that_exits_ends_neither_the_desk_nor_its_own_connection(
    desk: Desk, other: Visit
) -> None:
    visit = visit_for(desk, leave)
    for _ in range(2):
        visit.begin(np.zeros(2), 0)
        error = visit.error()
        assert isinstance(error, RuntimeError)
        assert "SystemExit(0)" in str(error)
    visit.close()


@pytest.mark.parametrize(("sent", "why"), UNREADABLE.values(), ids=list(UNREADABLE))
def test_who_sends_what_is_no_frame_is_told_why_and_shown_out(
    desk: Desk, other: Visit, sent: bytes, why: str
) -> None:
    visit = visit_for(desk)
    visit.works()
    visit.sock.sendall(sent)
    error = refused(visit)
    assert isinstance(error, Unreadable)
    assert re.search(why, str(error))


@pytest.mark.parametrize("body", [b"rubbish", dumps("no job")])
def test_a_job_that_is_none_is_told_for_every_message(
    desk: Desk, other: Visit, body: bytes
) -> None:
    visit = visit_for(desk)
    visit.link.add(pack(Kind.JOB, -1, -1, body))
    visit.begin(np.zeros(2), 0)
    assert isinstance(visit.error(), (pickle.UnpicklingError, TypeError))
    visit.close()


@pytest.mark.parametrize("ask", [1, ~1, 1 << 40])
def test_who_asks_for_another_roles_message_is_shown_out(
    desk: Desk, other: Visit, ask: int
) -> None:
    visit = visit_for(desk)
    visit.begin(np.zeros(2), 0, ask)
    assert f"Message {max(ask, ~ask)} was asked for" in str(refused(visit))


@pytest.mark.parametrize("order", [0, 2, 3])
def test_who_asks_for_derivatives_that_there_are_not_is_shown_out(
    desk: Desk, other: Visit, order: int
) -> None:
    visit = visit_for(desk)
    visit.round = 0
    visit.link.begin(pack(Kind.BEGIN, 0, 1, np.array([0, order, 1]), np.zeros(2)))
    assert f"no derivatives of order {order}" in str(refused(visit))


def test_who_asks_before_there_is_a_job_is_shown_out(desk: Desk, other: Visit) -> None:
    sock, theirs = socket.socketpair()
    with sock:
        desk.accept(theirs)
        sock.sendall(b"".join(map(bytes, pack(Kind.BEGIN, 0, 1, np.array([0, 1, 1]), np.zeros(2)))))
        reader = Reader(sock, TO_CLIENT)
        frame = None
        while frame is None:
            frame = reader.read()
        assert frame.kind is Kind.REFUSAL
        assert "Message 0 was asked for" in str(unpack_error(frame.body.data))


def test_rubbish_that_comes_in_the_middle_of_a_computation_ends_that_connection(
    desk: Desk, other: Visit
) -> None:
    begun.clear()
    gate.clear()
    visit = visit_for(desk, gated)
    visit.begin(np.zeros(2), 0)
    begun.wait()
    visit.sock.sendall(UNREADABLE["rubbish"][0])
    gate.set()
    assert "begins with" in str(refused(visit))  # found before the second block was computed


def test_who_takes_no_answers_keeps_nobody_waiting(desk: Desk, other: Visit) -> None:
    n = 500_000  # an answer that no socket's buffers hold
    slow = visit_for(desk)
    slow.begin(np.arange(float(n)), 0)
    while slow.link.wanted & selectors.EVENT_WRITE:  # until all of w is there
        slow.link.flush()
    for _ in range(3):
        other.works()
    answer = slow.next()
    assert answer.kind is Kind.ANSWER
    np.testing.assert_array_equal(answer.body.view(np.float64)[1:], 2 * np.arange(float(n)))
    slow.works()
    slow.close()


def test_who_goes_away_in_the_middle_is_forgotten(desk: Desk, other: Visit) -> None:
    for sent in (b"", b"GC", header(kind=Kind.JOB, size=1000) + b"half"):
        sock, theirs = socket.socketpair()
        desk.accept(theirs)
        sock.sendall(sent)
        sock.close()
        other.works()
        wait_until(lambda theirs=theirs: theirs.fileno() == -1)  # the desk has closed its side


@given(anything, places)
def test_no_bytes_however_cut_end_a_desk(desk: Desk, sent: bytes, places: list[int]) -> None:
    other = visit_for(desk)
    other.works()
    sock, theirs = socket.socketpair()
    with sock:
        desk.accept(theirs)
        with suppress(OSError):  # it was shown out before all was sent
            for piece in cut(sent, places):
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while sock.recv(1 << 16):  # until the desk has ended the connection
                pass
    other.works()
    other.close()


def test_a_desk_that_has_closed_takes_nobody_in() -> None:
    desk = Desk(SHARD)
    desk.close()
    desk.run()
    sock, theirs = socket.socketpair()
    with sock:
        desk.accept(theirs)
        assert sock.recv(1) == b""


# ---- the client's end, as safe against what a worker sends


@given(anything, places)
def test_of_any_bytes_a_client_gets_frames_of_the_roles_messages_or_an_end(
    sent: bytes, places: list[int]
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = Link(0, "there", CODE, b"")
        link.connect(ours)
        found: list[Frame] = []
        with suppress(Unreadable, Refused, Closed):
            for piece in cut(sent, places):
                theirs.sendall(piece)
                found.extend(link.read())
        assert all(frame.number == 0 for frame in found)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (pack(Kind.ANSWER, 0, 7, np.zeros(3)), "Message 7 came, none of role 0's"),
        (pack(Kind.ERROR, 0, -1, b""), "Message -1 came, none of role 0's"),
        (pack(Kind.JOB, 0, 0, b""), "kind 0 came where one of ANSWER, ERROR, REFUSAL"),
        (pack(Kind.ANSWER, 0, 0, b"12345"), "ANSWER of 5 bytes"),
        ([header(kind=Kind.ANSWER, size=HUGE)], f"ANSWER of {HUGE} bytes"),
        ([header(kind=Kind.ANSWER, version=VERSION + 1)], "the same version of dask_gradcode"),
    ],
)
def test_a_client_says_what_it_cannot_read(sent: list[Any], why: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = Link(0, "there", CODE, b"")
        link.connect(ours)
        theirs.sendall(b"".join(map(bytes, sent)))
        with pytest.raises(Unreadable, match=why):
            list(link.read())


def test_several_points_travel_abreast(desk: Desk) -> None:
    visit = visit_for(desk)
    visit.begin(abreast(np.array([[1.0, 2.0], [10.0, 20.0]])), 0, n_points=2)
    answer = visit.next()
    assert (answer.kind, answer.round, answer.number) == (Kind.ANSWER, 0, 0)
    sums = answer.body.view(np.float64)  # of two blocks of three rows
    np.testing.assert_array_equal(sums, [6.0, 6.0, 2.0, 20.0, 4.0, 40.0])
    visit.works()
    visit.close()


def test_who_asks_for_no_point_is_shown_out(desk: Desk, other: Visit) -> None:
    visit = visit_for(desk)
    visit.begin(np.zeros(2), 0, n_points=0)
    assert "at least one point, got n_points=0" in str(refused(visit))
