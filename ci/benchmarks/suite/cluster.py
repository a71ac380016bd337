"""What a cluster of processes on this machine takes: rounds, placing, the start of a worker."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from distributed import Client, LocalCluster

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.losses import Logistic


class Four:
    """Four workers of one thread each."""

    timeout, rows, number = 300, 400, 1

    def setup(self) -> None:
        self.cluster = LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0")
        self.client = Client(self.cluster)
        rng = np.random.default_rng(0)
        self.X, self.y = rng.standard_normal((self.rows, 20)), rng.integers(0, 2, self.rows)

    def teardown(self) -> None:
        self.client.close()
        self.cluster.close()


class Empty(Four):
    """Rounds in which nearly nothing is computed."""

    params = ("stream", "tasks")
    param_names = ("transport",)
    number, repeat = 100, 5

    def setup(self, transport: str) -> None:
        super().setup()
        self.data = place(self.X, self.y, n_stragglers=1, client=self.client)
        self.data.wait(60)
        self.objective = ClusterObjective(self.data, Logistic(), transport=transport)
        for _ in range(20):
            self.objective(np.zeros(20))

    def time_round(self, transport: str) -> None:
        self.objective(np.zeros(20))

    def teardown(self, transport: str) -> None:
        self.objective.close()
        self.data.close()
        super().teardown()


class Placing(Four):
    """Placing 160 MB of a NumPy array twice over."""

    rows, repeat = 1_000_000, 5

    def time_place(self) -> None:
        with place(self.X, self.y, n_stragglers=1, client=self.client) as data:
            data.wait(60)


class WorkerStart:
    """What a worker process imports for its first task, beyond what Dask has imported."""

    number, repeat = 1, 5

    def time_imports(self) -> None:
        script = "import dask_gradcode.cluster.worker.serving, dask_gradcode.cluster.data.shard"
        subprocess.run([sys.executable, "-c", script], check=True)
