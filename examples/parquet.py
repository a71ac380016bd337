"""From a folder of Parquet files to a fitted, saved model, while one worker is killed.

    python examples/parquet.py                            # 2,000,000 flights, made up
    python examples/parquet.py --rows 100_000 --workers 2
    python examples/parquet.py --folder flights --model late.joblib

The files hold words and numbers. The workers find the categories of each column, a partition at a
time, and turn their partitions into sparse rows by scikit-learn's own encoder, so neither rows nor
features come to this process. The same model is fitted twice: undisturbed, and while a worker is
killed (SIGKILL) on the way. What is saved is a pipeline of scikit-learn's alone, which takes a
plain pandas frame; the last file, which no fit has seen, is scored by it.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import joblib
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster
from scipy.sparse import csr_array
from sklearn.compose import ColumnTransformer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from dask_gradcode import CodedLogisticRegression, place
from killing import Killing

CATEGORIES = ["carrier", "origin", "destination", "aircraft", "month", "weekday", "hour"]
NUMBERS = ["distance"]  # in 1000 km
TARGET = "delay"  # in minutes
LATE = 15


def make_files(folder: Path, n_rows: int, n_files: int) -> None:
    """Write flights that never were, with delays that depend on all columns."""
    rng = np.random.default_rng(0)
    names: dict[str, Any] = {
        "carrier": [f"C{i:02}" for i in range(14)],
        "origin": [f"A{i:03}" for i in range(340)],
        "destination": [f"A{i:03}" for i in range(340)],
        "aircraft": [f"N{i:05}" for i in range(6000)],
        "month": range(1, 13),
        "weekday": range(1, 8),
        "hour": range(24),
    }
    effects = {name: rng.normal(scale=6.0, size=len(found)) for name, found in names.items()}
    folder.mkdir(parents=True)
    for file in range(n_files):
        n = n_rows * (file + 1) // n_files - n_rows * file // n_files
        columns, delay = {}, rng.logistic(scale=12.0, size=n)
        for name, found in names.items():
            codes = (len(found) * rng.random(n) ** 1.7).astype(int)  # some far more often
            columns[name] = pd.array(found).take(codes)
            delay += effects[name][codes]
        distance = rng.gamma(3.0, 0.4, size=n)
        frame = pd.DataFrame({**columns, "distance": distance, TARGET: delay - 3.0 * distance})
        frame.to_parquet(folder / f"flights-{file:03}.parquet", index=False)


def encoder_of(frame: dd.DataFrame) -> ColumnTransformer:
    """Return an encoder of a frame's columns, whose categories the workers have found.

    Each of them goes through its partitions (``categorize``); their union comes here.
    """
    known = frame[CATEGORIES].categorize(CATEGORIES)
    categories = [np.sort(np.asarray(known.dtypes[name].categories)) for name in CATEGORIES]
    one_hot = OneHotEncoder(categories=categories, handle_unknown="ignore")
    encoder = ColumnTransformer(
        [("one-hot", one_hot, CATEGORIES), ("numbers", "passthrough", NUMBERS)],
        sparse_threshold=1.0,
    )
    return encoder.fit(frame[CATEGORIES + NUMBERS].head())  # all that is to be known is known


def encoded(frame: dd.DataFrame, encoder: ColumnTransformer) -> Any:
    """Return a dask array of sparse chunks, one for each partition of a frame."""

    def encode(part: pd.DataFrame) -> csr_array:
        return csr_array(encoder.transform(part))

    like = csr_array((0, len(encoder.get_feature_names_out())))
    return frame[CATEGORIES + NUMBERS].map_partitions(encode, meta=like)


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what:<42}{time.perf_counter() - began:6.1f} s")


def train(folder: Path, n_workers: int) -> tuple[ColumnTransformer, CodedLogisticRegression]:
    """Return an encoder and a model of all files but the last, fitted while a worker is killed."""
    files = [str(file) for file in sorted(folder.glob("*.parquet"))]
    frame = dd.read_parquet(files[:-1])
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,  # the nanny reports the death
        ) as cluster,
        Client(cluster) as client,
    ):
        pids = client.run(os.getpid)
        with timed("categories found"):
            encoder = encoder_of(frame)
        X, y = encoded(frame, encoder), (frame[TARGET] > LATE).astype(int)
        killing = Killing()
        with timed("read, encoded and placed"):
            data = place(X, y, code="declustered", n_stragglers=1)
            data.wait()
        with data:
            print(f"  {data}, {data.storage}")
            with timed("fitted"):
                undisturbed = CodedLogisticRegression(max_iter=500).fit(data)
            killing.pid = pids[data.addresses[1]]
            with timed("fitted while a worker is killed"):
                model = CodedLogisticRegression(max_iter=500, solver=killing).fit(data)
    lost = sum(bool(record.lost) for record in model.history_)
    print(f"  {len(undisturbed.history_)} rounds, then {len(model.history_)}, {lost} with a loss")
    difference = np.abs(model.coef_ - undisturbed.coef_).max()
    print(f"largest difference of a coefficient: {difference:.1e}")
    return encoder, model


def score(folder: Path, model_file: Path) -> None:
    """Load what was saved as anybody would, and print how well it does on the last file."""
    pipeline = joblib.load(model_file)
    flights = pd.read_parquet(max(folder.glob("*.parquet")))
    late = flights.pop(TARGET) > LATE
    print(f"saved: {model_file.name}, {model_file.stat().st_size:,} bytes")
    print(f"test AUC: {roc_auc_score(late, pipeline.predict_proba(flights)[:, 1]):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--workers", type=int, default=3, help="two at least: one is killed")
    parser.add_argument(
        "--folder", type=Path, help="of the files; they are made if it is not there"
    )
    parser.add_argument("--model", type=Path, help="where the pipeline is saved")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary, "flights")
        model_file = arguments.model or Path(temporary, "late.joblib")
        if not folder.exists():
            with timed(f"{arguments.rows:,} rows written"):
                make_files(folder, arguments.rows, n_files=17)
        encoder, model = train(folder, arguments.workers)
        joblib.dump(make_pipeline(encoder, model.to_sklearn()), model_file)
        score(folder, model_file)


if __name__ == "__main__":
    main()
