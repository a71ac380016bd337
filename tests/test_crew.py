"""Threads that share items: all of them compute, none after the end, and no more than are set."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from contextvars import ContextVar

import pytest

from dask_gradcode.kernels import never
from dask_gradcode.work import Crew
from helpers import wait_until

WHO: ContextVar[str] = ContextVar("WHO")
LONG = 60.0  # seconds that no test takes, unless it fails


@pytest.fixture
def crew() -> Iterator[Crew]:
    with closing(Crew(2)) as two:
        yield two


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "gradcode-helper" in thread.name]


@pytest.mark.parametrize("n_threads", [1, 2, 4])
@pytest.mark.parametrize("n_items", [0, 1, 2, 30])
def test_every_item_is_done_once(n_threads: int, n_items: int) -> None:
    done: list[int] = []

    def do(item: int, should_stop: Callable[[], bool]) -> None:
        done.append(item)
        should_stop()

    with closing(Crew(n_threads)) as crew:
        for _ in range(3):
            done.clear()
            assert crew.each(do, iter(range(n_items)), never)
            assert sorted(done) == [*range(n_items)]
    assert not helpers()


def test_as_many_items_as_there_are_threads_are_done_at_once() -> None:
    meeting = threading.Barrier(4)

    def do(item: int, should_stop: Callable[[], bool]) -> None:
        meeting.wait(LONG)  # nobody comes through alone

    with closing(Crew(4)) as crew:
        assert crew.each(do, iter(range(8)), never)
        assert len(helpers()) == 3


def test_no_thread_is_started_for_one_item_nor_where_there_is_but_one() -> None:
    seen: list[threading.Thread] = []

    def do(item: int, should_stop: Callable[[], bool]) -> None:
        seen.append(threading.current_thread())

    with closing(Crew(2)) as crew:
        crew.each(do, iter(range(1)), never)
    Crew(1).each(do, iter(range(5)), never)
    assert {*seen} == {threading.current_thread()}


def test_a_helper_sees_the_context_of_its_caller(crew: Crew) -> None:
    meeting, seen = threading.Barrier(2), list[str]()

    def do(item: int, should_stop: Callable[[], bool]) -> None:
        meeting.wait(LONG)
        seen.append(WHO.get())

    for who in ("first", "second"):
        WHO.set(who)
        crew.each(do, iter(range(2)), never)
    assert seen == ["first", "first", "second", "second"]


def test_who_is_told_to_stop_has_no_helper_at_work_any_more(crew: Crew) -> None:
    meeting, ended = threading.Barrier(2), list[int]()
    both = threading.Event()

    def do(item: int, should_stop: Callable[[], bool]) -> None:
        meeting.wait(LONG)
        both.set()
        wait_until(should_stop)
        ended.append(item)

    assert not crew.each(do, iter(range(9)), both.is_set)
    assert sorted(ended) == [0, 1]


def test_a_caller_that_has_nothing_left_to_do_still_looks(crew: Crew) -> None:
    caller, alone, meeting = threading.get_ident(), threading.Event(), threading.Barrier(2)

    def do(item: int, should_stop: Callable[[], bool]) -> None:
        meeting.wait(LONG)
        if threading.get_ident() == caller:
            alone.set()
            return
        alone.wait(LONG)
        wait_until(should_stop)

    def only_the_caller_knows() -> bool:
        return threading.get_ident() == caller and alone.is_set()

    assert not crew.each(do, iter(range(2)), only_the_caller_knows)


@pytest.mark.parametrize("of_caller", [True, False])
@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_an_error_on_any_thread_stops_the_others_and_is_raised(
    crew: Crew, of_caller: bool, error: type[BaseException]
) -> None:
    caller, meeting = threading.get_ident(), threading.Barrier(2)
    ended: list[int] = []

    def do(item: int, should_stop: Callable[[], bool]) -> None:
        meeting.wait(LONG)
        if (threading.get_ident() == caller) is of_caller:
            raise error("mine")
        wait_until(should_stop)
        ended.append(item)

    with pytest.raises(error, match="mine"):
        crew.each(do, iter(range(9)), never)
    assert len(ended) == 1
    assert crew.each(lambda item, should_stop: None, iter(range(9)), never)  # it can go on


def test_an_error_of_looking_is_raised_on_whichever_thread_it_comes(crew: Crew) -> None:
    caller, meeting = threading.get_ident(), threading.Barrier(2)

    def do(item: int, should_stop: Callable[[], bool]) -> None:
        meeting.wait(LONG)

    def look() -> bool:
        if threading.get_ident() != caller:
            raise ConnectionError("gone")
        return False

    with pytest.raises(ConnectionError, match="gone"):
        crew.each(do, iter(range(2)), look)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_error_of_the_items_is_raised(n_threads: int) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise KeyError("no more")

    with closing(Crew(n_threads)) as crew, pytest.raises(KeyError, match="no more"):
        crew.each(lambda item, should_stop: None, items(), never)


def test_a_helper_leaves_when_another_caller_comes(crew: Crew) -> None:
    meeting, both, last = threading.Barrier(2), threading.Event(), threading.Event()
    first: list[int] = []

    def of_first(item: int, should_stop: Callable[[], bool]) -> None:
        if item < 2:
            meeting.wait(LONG)
            both.wait(LONG)  # the helper is in the middle of an item when the second one comes
        else:
            first.append(threading.get_ident())

    def of_second(item: int, should_stop: Callable[[], bool]) -> None:
        both.set()
        last.wait(LONG)

    def call_second() -> None:
        crew.each(of_second, iter(range(1)), never)

    second = threading.Thread(target=call_second)

    def items() -> Iterator[int]:
        yield from range(2)
        second.start()
        yield from range(2, 20)

    assert crew.each(of_first, items(), never)
    last.set()
    second.join()
    assert {*first} == {threading.get_ident()}
