"""What workers import: what they compute with, and nothing that only the client needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse
from distributed import Client
from distributed.protocol.pickle import dumps

from dask_gradcode import CodedLogisticRegression, CodedPoissonRegressor, place
from dask_gradcode.cluster import ClusterObjective, inject
from dask_gradcode.cluster.data.chunk import Expected
from dask_gradcode.cluster.data.cuts import describe_X, describe_y
from dask_gradcode.cluster.data.shard import (
    Parcel,
    ShardPlan,
    build_shard,
    look_at,
    pack_rows,
)
from dask_gradcode.cluster.worker.desk import serve
from dask_gradcode.cluster.worker.visitor import Job
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.losses import Logistic
from dask_gradcode.stragglers import FixedDelay
from dask_gradcode.targets import Targets, describe_targets
from dask_gradcode.work import as_work, compute_payload
from helpers import local_cluster, logistic_data

HEAVY = (
    "sklearn",
    "pandas",
    "scipy.linalg",
    "scipy.optimize",
    "scipy.stats",
    "matplotlib",
    "dask.array",
    "dask_gradcode.rounds",
)

LIGHT = """
import json, pickle, sys
import dask_gradcode.cluster.worker.desk, dask_gradcode.cluster.worker.message_task
import dask_gradcode.linear_model.bare
from dask_gradcode.work import compute_payload
with open(sys.argv[1], "rb") as file:
    tasks, job, expected, X, y, w = pickle.load(file)
describe_X, describe_y, pack_rows, build_shard, look_at, serve, plan = tasks
assert describe_X(expected, X, "me").problem is describe_y(y, None, "me").problem is None
shard = build_shard(plan, pack_rows(expected, X, 0, len(y)), y)
look_at(shard)
work = pickle.loads(job.work)
payload = compute_payload(job.code, job.messages[0], shard.seen_by(work), work, w)
print(json.dumps([payload.tolist(), sorted(sys.modules)]))
"""


def test_a_fresh_python_reads_and_computes_a_job_without_heavy_imports(tmp_path: Path) -> None:
    X, y = logistic_data(50, 3)
    w, code = np.array([0.5, -1.0, 2.0]), FractionalRepetition(1, 0)
    plan = ShardPlan(
        0,
        {0: [0, len(y)]},
        {0: [0]},
        {0: [1]},
        {},
        Targets.merge([describe_targets(y, None, "me")]),
    )
    tasks = describe_X, describe_y, pack_rows, build_shard, look_at, serve, plan
    job = Job(code, {0: code.messages[0]}, dumps(as_work(Logistic())))
    path = tmp_path / "job"
    path.write_bytes(dumps((tasks, job, Expected("X", X.shape), X, y, w)))
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(path)], capture_output=True, text=True, check=True
    )
    payload, modules = json.loads(done.stdout)
    shard = build_shard(plan, Parcel(X), y)
    expected = compute_payload(code, code.messages[0], shard.blocks, as_work(Logistic()), w)
    assert payload == pytest.approx(expected)
    assert not set(HEAVY) & set(modules)


def loaded(client: Client) -> dict[str, list[str]]:
    """Return which heavy modules each worker has loaded."""

    def modules() -> list[str]:
        import sys

        return [name for name in HEAVY if name in sys.modules]

    found: dict[str, list[str]] = client.run(modules)
    return found


@pytest.mark.cluster
def test_workers_that_place_compute_and_predict_load_nothing_heavy() -> None:
    def count_rows(w: Any, block: Any) -> Any:  # travels by value: a test's module is heavy
        return float(block.n_rows), w

    X, y = logistic_data(200, 4)
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}),  # as users' do
        local_cluster(2) as client,
    ):
        assert not any(loaded(client).values())
        for rows in (X, scipy.sparse.csr_array(X)):
            with place(rows, y, sample_weight=np.ones(200), client=client) as data:
                for transport in ("stream", "tasks"):
                    for work in (Logistic(), count_rows):
                        with ClusterObjective(data, work, transport=transport) as objective:
                            objective(np.zeros(4))
                with inject(client, FixedDelay(0.0)):
                    pass
        labels = np.where(y == 1, "yes", "no")
        model: Any = CodedLogisticRegression(client=client).fit(X, labels.astype(object))
        assert not any(loaded(client).values())
        chunks = da.from_array(X, chunks=(100, 4))
        counts: Any = CodedPoissonRegressor(client=client).fit(X, y)
        for lazy in (model.predict(chunks), model.predict_proba(chunks), counts.predict(chunks)):
            client.compute(lazy).result()
        assert {name for names in loaded(client).values() for name in names} <= {"dask.array"}
