"""The same model by others: equal objective, seconds, memory, and what a lost worker does to a fit.

    python examples/benchmarks/anchors.py [--rows 200000] [--only spark ours] [--json PATH]

needs ``pip install dask-ml xgboost pyspark`` (and Java 17) for those to take part; what is not
installed is left out. Dense rows of 100 features lie in the memory of four workers of one thread
each: placed (ours, s = 1), persisted (dask-ml, a DaskDMatrix of xgboost) or cached (four executors
of Spark); scikit-learn has them in one process. xgboost 3.2 refuses to train ``gblinear`` on
several workers, and says so here. Each trainer is a process of its own, and fits undisturbed, then
again with one worker killed (SIGKILL) or frozen (SIGSTOP) after half the time that the fit before
took. What has not ended after ``--patience`` seconds is said to wait.

The objective is scikit-learn's: log loss and ``|coef|^2 / 2``, over the number of rows, with an
intercept that is not penalised. Spark and xgboost are told the same; dask-ml penalises columns that
it has scaled.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

sys.path.append(str(Path(__file__).parents[1]))
from watching import Watch

N_FEATURES, N_WORKERS, TOL, SEED = 100, 4, 1e-6, 0
NEEDS = {"ours": "", "scikit-learn": "", "dask-ml": "dask_ml", "xgboost": "xgboost"}
NEEDS["spark"] = "pyspark"
FAULTS = {"nothing": None, "killed": signal.SIGKILL, "frozen": signal.SIGSTOP}


class Trainer(NamedTuple):
    """Fits once a call, and returns coefficients and intercept; whose workers these are."""

    fit: Callable[[], tuple[np.ndarray, float]]
    pids: list[int]


def data_set(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels."""
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((n_rows, N_FEATURES))
    coef = rng.standard_normal(N_FEATURES) / 5
    return X, (X @ coef + rng.logistic(size=n_rows) > 0).astype(np.int8)


def value(X: np.ndarray, y: np.ndarray, coef: np.ndarray, intercept: float) -> float:
    """Return scikit-learn's objective, for C=1, over the number of rows."""
    margins = np.where(y == 1, 1.0, -1.0) * (X @ coef + intercept)
    return float((np.logaddexp(0.0, -margins).sum() + 0.5 * coef @ coef) / len(y))


# ---------------------------------------------------------------- the trainers


@contextmanager
def dask_workers() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def lazy(X: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
    import dask.array as da

    n = -(-len(y) // (2 * N_WORKERS))
    return da.from_array(X, (n, N_FEATURES)), da.from_array(y, n)


@contextmanager
def ours(X: np.ndarray, y: np.ndarray) -> Iterator[Trainer]:
    from dask_gradcode import CodedLogisticRegression, place

    with dask_workers() as client, place(*lazy(X, y), n_stragglers=1) as data:
        data.wait()

        def fit() -> tuple[np.ndarray, float]:
            model = CodedLogisticRegression(tol=TOL).fit(data)
            return model.coef_[0], model.intercept_[0]

        yield Trainer(fit, list(client.run(os.getpid).values()))


@contextmanager
def scikit_learn(X: np.ndarray, y: np.ndarray) -> Iterator[Trainer]:
    from sklearn.linear_model import LogisticRegression

    def fit() -> tuple[np.ndarray, float]:
        model = LogisticRegression(tol=TOL).fit(X, y)
        return model.coef_[0], model.intercept_[0]

    yield Trainer(fit, [])


@contextmanager
def dask_ml(X: np.ndarray, y: np.ndarray) -> Iterator[Trainer]:
    from dask_ml.linear_model import LogisticRegression
    from distributed import wait

    with dask_workers() as client:
        rows = client.persist(lazy(X, y))
        wait(rows)

        def fit() -> tuple[np.ndarray, float]:
            model = LogisticRegression(solver="lbfgs", max_iter=100, C=1.0).fit(*rows)
            return np.ravel(model.coef_), float(np.ravel(model.intercept_)[0])

        yield Trainer(fit, list(client.run(os.getpid).values()))


@contextmanager
def xgboost(X: np.ndarray, y: np.ndarray) -> Iterator[Trainer]:
    from distributed import wait
    from xgboost import dask as dxgb

    with dask_workers() as client:
        rows = client.persist(lazy(X, y))
        wait(rows)
        matrix = dxgb.DaskDMatrix(client, *rows)
        options = {
            "booster": "gblinear",
            "objective": "binary:logistic",
            "updater": "coord_descent",
            "reg_lambda": 1 / len(y),
            "eta": 1.0,
            "tolerance": 0.0,
        }

        def fit() -> tuple[np.ndarray, float]:
            found = dxgb.train(client, options, matrix, num_boost_round=30)
            model = json.loads(found["booster"].save_raw("json"))["learner"]
            weights = np.array(model["gradient_booster"]["model"]["weights"])
            base = float(str(model["learner_model_param"]["base_score"]).strip("[]"))
            return weights[:-1], float(weights[-1] + np.log(base / (1 - base)))

        yield Trainer(fit, list(client.run(os.getpid).values()))


@contextmanager
def spark(X: np.ndarray, y: np.ndarray) -> Iterator[Trainer]:
    import pandas as pd
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import SparkSession

    names = [f"x{i}" for i in range(N_FEATURES)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        pd.DataFrame(X, columns=names).assign(label=y.astype(float)).to_parquet(f"{folder}/rows")
        session = (
            SparkSession.builder.master(f"local-cluster[{N_WORKERS},1,1024]")
            .config("spark.driver.memory", "2g")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .getOrCreate()
        )
        stack.callback(session.stop)
        session.sparkContext.setLogLevel("OFF")
        rows = VectorAssembler(inputCols=names, outputCol="features").transform(
            session.read.parquet(f"{folder}/rows")
        )
        rows = rows.select("features", "label").repartition(2 * N_WORKERS).cache()
        rows.count()
        model = LogisticRegression(
            regParam=1 / len(y), standardization=False, tol=TOL, maxIter=100, family="binomial"
        )

        def fit() -> tuple[np.ndarray, float]:
            found = model.fit(rows)
            return found.coefficients.toArray(), found.intercept

        yield Trainer(fit, executors())


def executors() -> list[int]:
    """Return the processes of Spark's executors."""
    mine = {process.pid for process in psutil.Process().children(recursive=True)}
    found = ((p.pid, p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
    return [pid for pid, line in found if pid in mine and any("ExecutorBackend" in s for s in line)]


TRAINERS = {
    "ours": ours,
    "scikit-learn": scikit_learn,
    "dask-ml": dask_ml,
    "xgboost": xgboost,
    "spark": spark,
}


# ---------------------------------------------------------------- one of them, in its own process


def run_one(name: str, n_rows: int, fault: str) -> None:
    """Fit undisturbed, and then with a fault; print a line of JSON after each."""
    warnings.simplefilter("ignore")
    X, y = data_set(n_rows)
    with TRAINERS[name](X, y) as trainer:
        try:
            trainer.fit()  # what is loaded or compiled at first
        except NotImplementedError as error:
            print(json.dumps({"seconds": 0.0, "error": in_short(error)}), flush=True)
            os._exit(0)
        with Watch(trainer.pids or [os.getpid()], over=sum) as watch:
            began = time.perf_counter()
            coef, intercept = trainer.fit()
            took = time.perf_counter() - began
        found = {"seconds": took, "value": value(X, y, coef, intercept), "memory": watch.most}
        print(json.dumps(found), flush=True)
        if FAULTS[fault] is None or not trainer.pids:
            return
        is_over = False
        while not is_over:  # until the fault has come before the end of the fit
            took /= 2
            disturb = threading.Timer(took, os.kill, [trainer.pids[0], FAULTS[fault]])
            disturb.start()
            began = time.perf_counter()
            found = {}
            try:
                found["value"] = value(X, y, *trainer.fit())
            except Exception as error:
                found["error"] = in_short(error)
            found["seconds"] = time.perf_counter() - began
            disturb.cancel()
            is_over = found["seconds"] > took
        print(json.dumps({"seconds": 0.0, **found}), flush=True)
        os._exit(0)  # what is frozen, or looks for what was killed, would keep it


def in_short(error: Exception) -> str:
    """Return the kind of an error, and how its text begins."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"


def measure(name: str, n_rows: int, fault: str, patience: float) -> list[dict[str, Any]]:
    """Return what the process of a trainer has printed, until it ends or is out of patience."""
    command = [sys.executable, __file__, "--one", name, "--fault", fault, "--rows", str(n_rows)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        lines: list[dict[str, Any]] = []
        reader = threading.Thread(target=lambda: lines.extend(map(parsed, process.stdout or ())))
        reader.start()
        end, n_heard = time.monotonic() + 600.0, 0
        wanted = 1 if FAULTS[fault] is None else 2
        while reader.is_alive() and time.monotonic() < end:
            reader.join(0.2)  # what is frozen keeps the pipe open
            found = [line for line in lines if line]
            if len(found) == wanted or any("error" in line for line in found):
                break
            if len(found) == 1 and len(lines) != n_heard:
                end = time.monotonic() + patience + found[0]["seconds"]
            n_heard = len(lines)
        for pid in psutil.pids():  # its workers, also those that it has left
            if session_of(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
        reader.join()
    return [line for line in lines if line]


def session_of(pid: int) -> int | None:
    """Return the session of a process, if it is still there."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def parsed(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line) if line.startswith(b'{"seconds"') else {}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--only", nargs="+", choices=TRAINERS, default=list(TRAINERS))
    parser.add_argument("--patience", type=float, default=60.0, help="seconds")
    parser.add_argument("--json", type=Path, help="write figures, versions and machine here")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--fault", choices=FAULTS, default="nothing", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return run_one(arguments.one, arguments.rows, arguments.fault)
    from common import about  # not above: Dask's workers import what this file does

    result: dict[str, Any] = {**about(), "rows": arguments.rows}
    for name in arguments.only:
        if NEEDS[name] and find_spec(NEEDS[name]) is None:
            print(f"{name}: not installed")
            continue
        result[name] = {}
        for fault in FAULTS if name != "scikit-learn" else ["nothing"]:
            found = measure(name, arguments.rows, fault, arguments.patience)
            result[name][fault] = found
            print(f"{name:<13}{fault:<9}{told(found, fault, arguments.patience)}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


def told(found: list[dict[str, Any]], fault: str, patience: float) -> str:
    """Return in words what a trainer has done."""
    if not found:
        return "did not fit"
    before = found[0]
    if "error" in before:
        return str(before["error"])
    told = f"{before['seconds']:7.2f} s  {before['value']:.8f}  {before['memory'] / 2**20:6.0f} MiB"
    if fault == "nothing":
        return told
    if len(found) == 1:
        return f"{told}, then still waits after {patience:.0f} s"
    if "error" in found[1]:
        return f"{told}, then after {found[1]['seconds']:.2f} s {found[1]['error']}"
    return f"{told}, then {found[1]['seconds']:.2f} s  {found[1]['value']:.8f}"


if __name__ == "__main__":
    main()
