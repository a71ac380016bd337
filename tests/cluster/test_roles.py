"""The roles of a placement on a scripted clock: who plays which, whatever happens to workers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_lists import FEW
from dask_gradcode.cluster.client.liveness import PAUSED, Liveness
from dask_gradcode.cluster.client.mailbox import Vanished
from dask_gradcode.cluster.client.whereabouts import Whereabouts
from dask_gradcode.cluster.data.builder import Builder
from dask_gradcode.cluster.data.cuts import cut
from dask_gradcode.cluster.data.shard import build_shard, copy_shard
from dask_gradcode.cluster.data.source import Source
from dask_gradcode.cluster.placement.deliveries import Deliveries
from dask_gradcode.cluster.placement.homes import anywhere
from dask_gradcode.cluster.placement.roles import Roles
from dask_gradcode.cluster.placement.seat import Seat
from dask_gradcode.cluster.worker.serving import Serving
from dask_gradcode.codes import FractionalRepetition, GradientCode, Uncoded
from stages import Fault, Stage, Task, Worker

FROZEN, RECOVER = 5.0, 12.0
TOLD = 3.0  # seconds after which a death is told, at most
LATEST = 10.0  # seconds after which a role is begun again, at most
KNOWN = 2.5  # seconds after which the scheduler has told what is, and somebody has looked
STEP = 0.25  # seconds between two looks


@pytest.fixture(autouse=True)
def short_times() -> Iterator[None]:
    with dask.config.set(
        {"gradcode.timeouts.frozen": FROZEN, "gradcode.timeouts.recover": RECOVER}
    ):
        yield


class Play:
    """Roles on a stage, and what holds whenever they have been tended to."""

    def __init__(self, code: GradientCode, n_spares: int = 0, seed: int = 0) -> None:
        self.code, self.stage = code, Stage(code.n_workers + n_spares, seed)
        stage: Any = self.stage
        # chunks that lie across the borders of blocks
        n_rows, n_chunks = 3 * code.n_blocks, code.n_blocks + 1
        X, y = np.zeros((n_rows, 2)), np.zeros(n_rows)
        self.source = Source(stage, X, y, None, n_chunks, anywhere)
        lengths = np.diff(cut(n_rows, n_chunks)).tolist()
        rows: dict[str, list[int]] = {"X": lengths, "y": lengths, "sample_weight": []}
        borders, among = range(0, n_rows + 1, 3), list(stage.workers)
        targets: Any = None  # no task is really run
        builder = Builder(
            stage, "uid", code, self.source, rows, borders, targets, among, lambda address: None
        )
        deliveries = Deliveries(stage, "uid", builder, stage, Whereabouts(stage))
        self.liveness = Liveness(stage)
        self.roles = Roles(code, Serving(stage, "uid"), deliveries, self.liveness, stage.monotonic)
        self._first = among[: code.n_workers]
        self._seen: dict[int, Any] = {}  # the keys of shards, when looked at last
        self._version, self.has_begun = 0, False
        self._since: dict[Any, float] = {}  # what must not last

    def begin(self) -> None:
        for address in self.stage.workers:
            self.liveness.note_answer(address)
        self.liveness.recently(0.0)
        self.stage.go_on(1.0)
        self.roles.begin(self._first)
        self.has_begun = True

    def go_on(self, seconds: float) -> None:
        end = self.stage.clock + seconds
        while self.stage.clock < end:
            self.stage.go_on(STEP)
            with suppress(KeyboardInterrupt):
                self.roles.tend()
            self.check()

    def wanted(self, role: int) -> list[Task]:
        """Return the tasks that somebody wants of those that build a role's shards."""
        return [
            task
            for task in self.stage.tasks.values()
            if task.is_wanted and task.does in (build_shard, copy_shard) and task.key[1] == role
        ]

    def spare(self) -> list[Worker]:
        """Return the workers that could take a role."""
        taken = {task.named[0] for role in self.roles.addresses for task in self.wanted(role)}
        workers = self.stage.workers.items()
        return [w for a, w in workers if a not in taken and not w.troubles]

    # ---- what always holds

    def check(self) -> None:
        self.check_what_is_said()
        self.check_tasks()
        self.check_that_trouble_ends()

    def check_what_is_said(self) -> None:
        roles, shards, lost = self.roles, self.roles.shards, self.roles.lost
        assert shards.keys() | lost.keys() == set(range(self.code.n_workers))
        assert not shards.keys() & lost.keys()
        seen = {role: shard.key for role, shard in shards.items()}
        assert seen == self._seen or roles.version > self._version
        assert set(roles.unplaced) <= lost.keys()
        assert set(roles.recovered) <= shards.keys()
        assert roles.given_up.keys() <= lost.keys()
        assert all(why.startswith("tcp://") for why in lost.values())
        for role, why in roles.given_up.items():
            assert why.endswith("it is given up, as placing it has failed 3 times")
            assert sum(isinstance(error, ZeroDivisionError) for error in self.errors(role)) >= 3
        self._seen, self._version = seen, roles.version

    def errors(self, role: int) -> list[BaseException]:
        """Return what has gone wrong with the placing of a role."""
        letters = [letter for _, letter in self.stage.taken]
        return [x.error for x in letters if x.error is not None and x.ticket[0] == role]  # type: ignore[index]

    def check_tasks(self) -> None:
        """Check that each role has one task at most where it is, and one where it goes."""
        moving = self.roles.moving
        for role, address in self.roles.addresses.items():
            tasks, shard = self.wanted(role), self.roles.shards.get(role)
            where = [address for task in tasks for address in task.named]
            assert set(where) <= {address, moving.get(role)}
            assert len(where) == len(set(where)) == len(tasks)
            assert shard is None or shard.task in tasks  # type: ignore[attr-defined]
            assert address != moving.get(role)

    def check_that_trouble_ends(self) -> None:
        """Check that nothing lasts that must not, longer than is promised."""
        lasts = dict(self._troubles())
        self._since = {what: self._since.get(what, self.stage.clock) for what in lasts}
        for what, seconds in lasts.items():
            assert self.stage.clock - self._since[what] <= seconds, what

    def _troubles(self) -> Iterator[tuple[Any, float]]:
        """Say what is amiss, and how long it may be."""
        spare = self.spare()
        for role in self.roles.addresses.keys() - self.roles.given_up.keys():
            for task in self.wanted(role):
                worker = self.stage.workers.get(task.named[0])
                shard: Any = self.roles.shards.get(role)
                is_placed = shard is not None and shard.task is task
                if worker is None:
                    yield ("on nobody", task.key), TOLD + KNOWN
                elif "freezes" in worker.troubles and spare:
                    yield ("on a frozen one", task.key), (FROZEN if is_placed else RECOVER) + KNOWN
                elif "pauses" in worker.troubles and spare and not is_placed:
                    yield ("on a paused one", task.key), PAUSED + KNOWN
                elif not worker.troubles and not is_placed:
                    yield ("being placed", task.key), RECOVER + KNOWN + 3.0
            if not self.wanted(role) and spare:
                yield ("on no way", role), LATEST + KNOWN
        if spare and not any(worker.troubles for worker in self.stage.workers.values()):
            placed = (self.roles.addresses[role] for role in self.roles.shards)
            for address, n in Counter(placed).items():
                if n > 1:
                    yield ("crowded", address), LATEST + RECOVER


@pytest.fixture
def begun() -> Iterator[Callable[..., Play]]:
    """Begin to place the roles of a code, on the stage's clock."""
    with ExitStack() as stack:

        def begin(code: GradientCode, n_spares: int = 0, seconds: float = 5.0) -> Play:
            play = Play(code, n_spares)
            stack.enter_context(play.stage.clocks())
            play.begin()
            play.go_on(seconds)
            return play

        yield begin


@pytest.mark.parametrize("call", range(1, 12))
def test_ctrl_c_leaves_no_role_behind(begun: Callable[..., Play], call: int) -> None:
    play = begun(FractionalRepetition(4, 1), 2)
    play.stage.interrupt_in = call
    for role in (0, 1):  # who hold the same blocks
        play.stage.die(play.roles.addresses[role])
    play.go_on(LATEST)
    assert not play.roles.lost
    play.stage.die(play.roles.addresses[0])
    play.stage.go_on(0.1)
    assert list(play.roles.lost) == [0]  # it was watched
    check_release(play)


def test_a_role_counts_as_lost_since_its_first_worker_died(
    begun: Callable[..., Play], caplog: pytest.LogCaptureFixture
) -> None:
    play = begun(Uncoded(2), 1)
    play.stage.workers["tcp://3"].troubles["freezes"] = 0.0
    play.stage.die("tcp://1")
    play.go_on(4.0)
    assert play.roles.addresses[0] == "tcp://3"
    play.stage.die("tcp://3")
    play.stage.join()
    play.go_on(4.0)
    (seconds,) = re.findall(r"Role 0 is placed on .*, ([0-9.]+) s later", caplog.text)
    assert float(seconds) > 4.0


def test_a_role_is_not_given_up_because_of_one_worker(begun: Callable[..., Play]) -> None:
    play = begun(Uncoded(2), 2)
    play.stage.workers["tcp://3"].troubles["fails"] = 0.0
    play.stage.die("tcp://1")
    play.go_on(5.0)
    assert play.roles.addresses == {0: "tcp://4", 1: "tcp://2"}
    assert not play.roles.lost
    assert len(play.errors(0)) == 1


def test_chunks_are_let_go_once_the_last_role_on_its_way_is_given_up(
    begun: Callable[..., Play],
) -> None:
    play = begun(Uncoded(2), seconds=0.0)
    play.stage.workers["tcp://2"].troubles["fails"] = 0.0
    play.go_on(10.0)
    assert list(play.roles.given_up) == [1]
    assert not any(play.source.futures.values())


def test_what_goes_wrong_at_once_is_begun_ever_later(begun: Callable[..., Play]) -> None:
    play = begun(Uncoded(1), seconds=0.0)
    play.stage.workers["tcp://1"].troubles["forgets"] = 0.0
    play.go_on(100.0)
    assert 10 < len(play.errors(0)) < 20
    assert not play.roles.given_up
    seat = Seat(0, "tcp://1", "")
    for _ in range(2000):
        seat.fail(Vanished("gone"), True, 0.0)
    assert seat.not_before == LATEST


def test_nothing_is_begun_after_a_restart(begun: Callable[..., Play]) -> None:
    play = begun(Uncoded(2), 1)
    n = len(play.stage.begun)
    play.stage.generation += 1
    play.stage.die("tcp://1")
    play.go_on(5.0)
    assert len(play.stage.begun) == n
    with pytest.raises(RuntimeError, match="has been restarted"):
        play.roles.check_restart()


class Attached:
    """Stands for a fit that is attached to shards."""

    def __init__(self, play: Play) -> None:
        self.held = [shard.key for shard in play.roles.shards.values()]
        play.roles.use(self)


@pytest.mark.parametrize("n_spares", [0, 1])
def test_who_is_announced_to_leave_is_left_before(
    begun: Callable[..., Play], n_spares: int
) -> None:
    play = begun(FractionalRepetition(4, 1), n_spares)
    play.stage.drain("tcp://1", 120.0)
    assert play.roles.leaving == {0: "tcp://1: it leaves within 120 s"}
    version = play.roles.version
    play.stage.go_on(STEP)
    play.roles.tend()
    goes_to = play.roles.moving[0]
    assert goes_to in ({"tcp://5"} if n_spares else {"tcp://3", "tcp://4"})  # not beside its twin
    assert (play.roles.addresses[0], play.roles.version) == ("tcp://1", version)
    play.go_on(3.0)
    assert play.roles.addresses[0] == goes_to
    assert not play.roles.moving
    assert not play.roles.recovered
    play.stage.die("tcp://1")
    play.go_on(3.0)
    assert not play.roles.lost
    check_release(play)


def test_a_role_leaves_a_slow_worker_for_one_without_a_role_that_is_not_slow(
    begun: Callable[..., Play],
) -> None:
    play = begun(Uncoded(2), 1)
    play.roles.note_slow(1, "it is slow there")
    play.go_on(3.0)
    assert play.roles.addresses == {0: "tcp://1", 1: "tcp://3"}
    play.roles.note_slow(1, "and here")
    play.go_on(3.0)
    assert play.roles.addresses == {0: "tcp://1", 1: "tcp://3"}  # nowhere is better
    play.roles.note_slow(1, None)
    play.roles.note_slow(0, "it has become slow")
    play.go_on(3.0)
    assert play.roles.addresses == {0: "tcp://1", 1: "tcp://3"}  # 2 has been slow
    joins = play.stage.join()
    play.go_on(3.0)
    assert play.roles.addresses == {0: joins.address, 1: "tcp://3"}
    check_release(play)


def test_a_role_shares_no_worker_because_its_own_is_slow(begun: Callable[..., Play]) -> None:
    play = begun(FractionalRepetition(4, 1))
    before = play.roles.addresses
    play.roles.note_slow(1, "it is slow")
    play.go_on(15.0)
    assert play.roles.addresses == before


def test_a_shard_is_kept_where_it_was_until_nobody_is_attached_to_it(
    begun: Callable[..., Play],
) -> None:
    play = begun(Uncoded(2), 1)
    key, fit, other = play.roles.shards[0].key, Attached(play), Attached(play)
    play.stage.drain("tcp://1", 120.0)
    play.stage.go_on(STEP)
    for _ in range(20):
        play.stage.go_on(STEP)
        play.roles.tend()
    assert play.roles.addresses[0] == "tcp://3"
    fit.held.clear()
    play.roles.tend()
    assert play.roles.serves(key)
    assert key in play.stage.tasks
    del other
    play.roles.tend()
    play.stage.go_on(STEP)
    assert not play.roles.serves(key)
    assert key not in play.stage.tasks


def test_one_that_has_been_retired_may_serve_those_who_are_attached(
    begun: Callable[..., Play],
) -> None:
    play = begun(FractionalRepetition(4, 1))
    key, fit = play.roles.shards[0].key, Attached(play)
    play.stage.retire(play.stage.workers["tcp://1"])
    play.roles.tend = lambda: None  # type: ignore[method-assign]  # nobody looks meanwhile
    play.stage.go_on(5.0)
    assert list(play.roles.lost) == [0]
    assert play.roles.serves(key)
    del play.roles.tend
    play.go_on(3.0)  # at once: nobody comes in its place
    assert play.roles.addresses[0] in ("tcp://3", "tcp://4")
    assert play.roles.serves(key)
    fit.held.clear()
    play.roles.tend()
    assert not play.roles.serves(key)


def test_a_role_shares_a_worker_after_a_while_and_goes_to_one_who_joins(
    begun: Callable[..., Play],
) -> None:
    play = begun(FractionalRepetition(4, 1))
    play.stage.die("tcp://1")
    play.go_on(9.0)
    assert list(play.roles.lost) == [0]
    play.go_on(4.0)
    shared = play.roles.addresses[0]
    assert shared in ("tcp://3", "tcp://4")
    assert not play.roles.lost
    newcomer = play.stage.join().address
    play.go_on(5.0)
    where = play.roles.addresses
    assert len(set(where.values())) == 4
    assert newcomer in where.values()
    assert not play.roles.lost


def test_who_is_still_there_after_twice_the_time_has_stayed(begun: Callable[..., Play]) -> None:
    with dask.config.set({"gradcode.timeouts.share": "1h"}):
        play = begun(Uncoded(1))
        play.stage.drain("tcp://1", 10.0)
        play.go_on(19.0)
        assert list(play.roles.leaving) == [0]
        play.go_on(2.0)
        assert not play.roles.leaving


WHAT = st.sampled_from(
    ["dies", "dies", "retires", "leaves", "freezes", "pauses", "fails", "forgets", "interrupt"]
)
LASTS = st.one_of(st.floats(0.1, 15.0), st.just(math.inf))
TOLDS = st.lists(st.floats(0.0, TOLD), min_size=1, max_size=2).map(tuple)
FAULTS = st.builds(Fault, st.floats(0.0, 30.0), WHAT, st.integers(0, 20), LASTS, TOLDS)


@settings(max_examples=300)
@given(
    code=st.sampled_from(FEW),
    n_spares=st.integers(0, 2),
    faults=st.lists(FAULTS, max_size=8),
    seed=st.integers(0, 2**32),
)
def test_whatever_happens_roles_are_placed_or_given_up(
    code: GradientCode, n_spares: int, faults: list[Fault], seed: int
) -> None:
    play = Play(code, n_spares, seed)
    stage, roles = play.stage, play.roles
    with stage.clocks():
        for fault in faults:
            stage.suffer(fault)
        with suppress(KeyboardInterrupt):
            play.begin()
            play.go_on(40.0)
        for worker in stage.workers.values():
            worker.troubles.clear()
        while len(stage.workers) < code.n_workers:
            stage.join()
        stage.interrupt_in = math.inf
        if play.has_begun:
            play.go_on(LATEST + 2 * KNOWN)
            assert roles.lost.keys() == roles.given_up.keys()
        pins = Counter(key[0] for key in stage.begun)["gradcode-shard-uid"]
        n_errors = sum(letter.error is not None for _, letter in stage.taken)
        assert pins <= code.n_workers * (1 + 3 * len(faults)) + n_errors
        check_release(play)


def check_release(play: Play) -> None:
    n = len(play.stage.begun)
    play.roles.release()
    play.roles.tend()
    play.stage.go_on(5.0)
    play.roles.tend()
    assert len(play.stage.begun) == n
    assert not play.stage.tasks
