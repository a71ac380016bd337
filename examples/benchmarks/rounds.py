"""The time of a round on the paper's data, and of an empty one, against bare MPI and bare sockets.

    python examples/benchmarks/rounds.py --data PATH [--json PATH] [--workers 8 12 30]

PATH is train.csv of Amazon employee access. The paper's data are coded with fractional repetition
and s = 1. In turns of a few rounds the same ``w`` goes through our transports, through a loop of
bare mpi4py over TCP that sends dense vectors (``mpi_loop.py``; needs mpirun, for which
``pip install '.[mpi]'``), and through bare sockets that send the same bytes
(``socket_loop.py``). Who is not in turn is stopped (SIGSTOP), but for Dask's idle workers in the
bare sockets' turn.

A round ends when the sum is decoded. Replicas that still work then are waited for, untimed, as the
references do; "back to back" does not wait. BLAS has one thread throughout, as in a fit. "client"
is the share of a round from the arrival of the last message that it needs to its end. The empty
round has 8 workers and d = 100; its references are ``client.submit`` per worker with
``as_completed``, and bare sockets.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np
from distributed import Client, LocalCluster, as_completed

from common import about, amazon
from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.kernels import one_blas_thread
from dask_gradcode.losses import Logistic
from socket_loop import SocketLoop

HERE = Path(__file__).parent
BUDGETS = {8: 1.0, 12: 0.9, 30: 0.55}  # of a stream's round over MPI's, by n
TURNS, ROUNDS = 8, 5


class Stopped:
    """Processes that run only in their turn."""

    def __init__(self, pids: list[int]) -> None:
        self.pids = pids
        self.stop()

    def stop(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    @contextmanager
    def turn(self) -> Iterator[None]:
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)
        try:
            yield
        finally:
            self.stop()

    def free(self) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class MpiLoop:
    """``mpi_loop.py`` under mpirun, over TCP."""

    def __init__(self, n_workers: int, path: str) -> None:
        command = [mpirun(), "--oversubscribe", "--allow-run-as-root"]
        command += ["--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo"]
        command += ["-n", str(n_workers + 1), sys.executable, str(HERE / "mpi_loop.py"), path, "1"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line.strip() != "ready":
            raise RuntimeError(f"mpirun did not start: {line}")

    def rounds(self, count: int) -> list[float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        seconds: list[float] = json.loads(self.process.stdout.readline())
        return seconds

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def mpirun() -> str:
    found = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        raise SystemExit("There is no mpirun. pip install '.[mpi]' brings one.")
    return found


def children(pid: int) -> list[int]:
    """Return a process's descendants."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True)
    parents = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found = [child for child, parent in parents if parent == pid]
    return found + [grandchild for child in found for grandchild in children(child)]


def timed(
    objective: Callable[[np.ndarray], Any], w: np.ndarray, count: int, drain: bool = False
) -> list[float]:
    """Return the seconds of each of some rounds."""
    seconds = []
    for _ in range(count):
        start = perf_counter()
        seen = objective(w)
        seconds.append(perf_counter() - start)
        if drain:
            record = seen.record  # who is late since an earlier round may not have been asked
            late = [role for role in record.late if role not in record.spared]
            while np.isnan(record.arrived_at[late]).any():
                objective.drain(1.0)
    return seconds


def after_last_arrival(objective: ClusterObjective, w: np.ndarray, count: int) -> list[float]:
    """Return the share of each of some rounds that the client spends beside waiting for it."""
    shares = []
    for _ in range(count):
        start = perf_counter()
        seen = objective(w)
        shares.append(1.0 - seen.record.seconds / (perf_counter() - start))
    return shares


def shards_of(data: Placement) -> dict[int, Any]:
    while data.lost:  # whoever is late is placed after the others
        data.roles.tend()
        sleep(0.05)
    return dict(zip(data.shards, data.client.gather(list(data.shards.values())), strict=True))


def paper(n_workers: int, path: str) -> dict[str, list[float]]:
    X, _, y, _ = amazon.load(path)
    code = FractionalRepetition(n_workers, 1)
    w = np.random.default_rng(0).normal(size=X.shape[1]) * 1e-3
    found: dict[str, list[float]] = {
        "mpi": [],
        "sockets": [],
        "stream": [],
        "back to back": [],
        "tasks": [],
        "client": [],
    }
    with (
        one_blas_thread(),
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", memory_limit=0
        ) as cluster,
        Client(cluster) as client,
        place(X, y, code=code) as data,
        ClusterObjective(data, Logistic(), transport="stream") as stream,
        ClusterObjective(data, Logistic(), transport="tasks") as tasks,
    ):
        bare = SocketLoop(code, shards_of(data), X.shape[1], Logistic())
        sockets = Stopped(bare.pids)
        loop = MpiLoop(n_workers, path)
        mpi = Stopped([loop.process.pid, *children(loop.process.pid)])
        workers = Stopped(list(client.run(os.getpid).values()))
        workers.free()
        timed(stream, w, 3), timed(tasks, w, 2)
        try:
            for _ in range(TURNS):
                workers.stop()
                with mpi.turn():
                    found["mpi"] += loop.rounds(ROUNDS + 1)[1:]
                workers.free()
                with sockets.turn():
                    found["sockets"] += [bare.round(w) for _ in range(ROUNDS + 1)][1:]
                found["stream"] += timed(stream, w, ROUNDS + 1, drain=True)[1:]
                found["back to back"] += timed(stream, w, ROUNDS + 1)[1:]
                found["client"] += after_last_arrival(stream, w, ROUNDS)
                found["tasks"] += timed(tasks, w, 3)[1:]
        finally:
            for group in (mpi, sockets, workers):
                group.free()
            loop.close()
            bare.close()
    return found


def empty() -> dict[str, list[float]]:
    """Time rounds in which there is nothing to compute."""

    def nothing(w: np.ndarray, block: Any) -> tuple[float, np.ndarray]:
        return 0.0, w

    def answer(shard: Any, w: np.ndarray) -> np.ndarray:
        return w

    code, w = FractionalRepetition(8, 1), np.zeros(100)
    found: dict[str, list[float]] = {"stream": [], "submit": [], "sockets": []}
    with (
        one_blas_thread(),
        LocalCluster(n_workers=8, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        place(np.zeros((64, 100)), np.arange(64) % 2, code=code) as data,
        ClusterObjective(data, nothing, transport="stream") as stream,
    ):

        def submit(w: np.ndarray) -> None:
            futures = [
                client.submit(answer, shard, w, workers=[data.addresses[role]], pure=False)
                for role, shard in data.shards.items()
            ]
            for _ in as_completed(futures, with_results=True):
                pass

        bare = SocketLoop(code, shards_of(data), w.size, nothing)
        try:
            for _ in range(TURNS):
                found["stream"] += timed(stream, w, 20)
                found["submit"] += timed(submit, w, 3)
                found["sockets"] += [bare.round(w) for _ in range(20)]
        finally:
            bare.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="train.csv of Amazon employee access")
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 12, 30])
    arguments = parser.parse_args()

    result: dict[str, Any] = {"rounds": {}, "mpi_tcp": {}, "sockets": {}, "ratio": {}}
    result["client_share"] = {}
    print(f"{'n':>4}{'mpi':>10}{'sockets':>10}{'stream':>10}{'b. to b.':>10}{'tasks':>10}", end="")
    print(f"{'stream/mpi':>12}{'budget':>8}{'stream/sockets':>16}{'budget':>8}{'client':>8}")
    for n in arguments.workers:
        seconds = {name: median(times) for name, times in paper(n, arguments.data).items()}
        key = str(n)
        result["mpi_tcp"][key], result["sockets"][key] = seconds["mpi"], seconds["sockets"]
        ours = ("stream", "back to back", "tasks")
        result["rounds"][key] = {name: seconds[name] for name in ours}
        ratio = {name: seconds[name] / seconds["mpi"] for name in ours}
        result["ratio"][key] = ratio
        result["client_share"][key] = seconds["client"]
        shown = [seconds[name] for name in ("mpi", "sockets", *ours)]
        print(f"{n:>4}", *(f"{value * 1e3:>6.1f} ms" for value in shown), end="")
        print(f"{ratio['stream']:>12.2f}{BUDGETS.get(n, '-'):>8}", end="")
        print(f"{seconds['stream'] / seconds['sockets']:>16.2f}{1.3:>8}", end="")
        print(f"{seconds['client']:>8.0%}", flush=True)

    seconds = {name: median(times) for name, times in empty().items()}
    ratio = seconds["submit"] / seconds["stream"]
    bare = seconds["stream"] / seconds["sockets"]
    result["empty"] = {**seconds, "ratio": ratio, "over_sockets": bare}
    print(
        f"empty round, n = 8, d = 100: stream {seconds['stream'] * 1e3:.2f} ms, submit "
        f"{seconds['submit'] * 1e3:.1f} ms, 1/{ratio:.0f} (budget 1/40); "
        f"sockets {seconds['sockets'] * 1e3:.2f} ms, {bare:.1f} of them (budget 3)"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps({**about(), **result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
