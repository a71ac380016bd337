"""What place says while it goes on: stages, lines, a bar, a callback, and the time that is left."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import dask.array as da
import pytest
import rich
from distributed import Client, LocalCluster
from rich.console import Console

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster import Placing
from dask_gradcode.cluster.placement.placing import telling
from helpers import logistic_data

X, Y = logistic_data(600, 4)
LAZY = da.from_array(X, (100, 4)), da.from_array(Y, 100)


@pytest.fixture(scope="module")
def two() -> Iterator[Client]:
    """Two workers in this process."""
    with (
        LocalCluster(n_workers=2, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_left_goes_by_the_pace_of_its_stage() -> None:
    clock, told = Clock(), list[Placing]()
    with telling(0, told.append, "place", clock) as tell:
        for seconds, stage, done in (
            (0, "a", 0),
            (3, "a", 3),
            (3, "a", 3),
            (10, "b", 0),
            (14, "b", 2),
        ):
            clock.now = 100.0 + seconds
            tell(stage, done, 4)
    assert told == [
        Placing("a", 0, 4, 0.0, None),
        Placing("a", 3, 4, 3.0, 1.0),  # and what is not new is not told
        Placing("b", 0, 4, 10.0, None),
        Placing("b", 2, 4, 14.0, 4.0),
    ]


def test_that_workers_are_waited_for_is_told_again_and_again_without_a_guess() -> None:
    clock, told = Clock(), list[Placing]()
    with telling(0, told.append, "place", clock) as tell:
        for seconds, n_there in ((0, 3), (1, 3), (2, 4), (2, 4)):
            clock.now = 100.0 + seconds
            tell("workers there", n_there, 4)
    assert [(placing.done, placing.seconds, placing.rest) for placing in told] == [
        (3, 0.0, ""),
        (3, 1.0, ""),
        (4, 2.0, ""),
    ]


def test_a_line_a_second_at_most_and_one_when_a_stage_is_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    with telling(1, None, "place", clock) as tell:
        for i in range(31):
            clock.now = 100.0 + i / 10
            tell("chunks checked", i, 30)
        tell("roles placed", 2, 2)
    assert capsys.readouterr().out.splitlines() == [
        "[place] 10 of 30 chunks checked, 1.000 s, about 0:00:02 left",
        "[place] 20 of 30 chunks checked, 2.000 s, about 0:00:01 left",
        "[place] 30 of 30 chunks checked, 3.000 s",
        "[place] 2 of 2 roles placed, 3.000 s",
    ]


@pytest.mark.parametrize("storage", ["memory", "disk"])
def test_a_callback_is_told_of_every_stage_until_it_is_done(two: Client, storage: str) -> None:
    told = list[Placing]()
    place(*LAZY, n_stragglers=1, storage=storage, callback=told.append, client=two).close()
    stages = list(dict.fromkeys(placing.stage for placing in told))
    written = ["pieces written"] if storage == "disk" else []
    assert stages == ["chunks checked", *written, "roles placed"]
    for stage in stages:
        done = [placing.done for placing in told if placing.stage == stage]
        assert done == sorted(done)
    for stage, total in (("chunks checked", 12), ("roles placed", 2)):
        newest = [placing for placing in told if placing.stage == stage][-1]
        assert (newest.done, newest.total) == (total, total)


def test_what_a_callback_raises_ends_the_placing(two: Client) -> None:
    def stop(placing: Placing) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place(*LAZY, n_stragglers=1, callback=stop, client=two)
    place(*LAZY, n_stragglers=1, client=two).close()


def test_place_and_fit_say_it_in_the_same_words(
    two: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    place(*LAZY, n_stragglers=1, verbose=1, client=two).close()
    CodedLogisticRegression(verbose=1, client=two).fit(*LAZY)
    lines = capsys.readouterr().out.splitlines()
    for name in ("place", "CodedLogisticRegression"):
        of_name = [line for line in lines if line.startswith(f"[{name}]")]
        ends = [line for line in of_name if re.search(r"(\d+) of \1 ", line)]
        assert [re.sub(r", [\d.]+ s.*", "", line.split("] ")[1]) for line in ends[:2]] == [
            "12 of 12 chunks checked",
            "2 of 2 roles placed",
        ]


def test_a_bar_ends_full(two: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(rich, "_console", console)
    place(*LAZY, n_stragglers=1, verbose="bar", client=two).close()
    *_, last, _ = written.getvalue().splitlines()
    assert "roles placed" in last
    assert "2/2" in last


@pytest.mark.parametrize("verbose", ["loud", -1, None, 1.5])
def test_anything_else_is_refused_before_any_work(two: Client, verbose: Any) -> None:
    with pytest.raises(ValueError, match="verbose must be a bool, an int from 0 on or 'bar', got"):
        place(*LAZY, verbose=verbose, client=two)
