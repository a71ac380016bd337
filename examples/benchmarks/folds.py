"""Cross-validation in one go, against fits warm-started along C, and scikit-learn's.

    python examples/benchmarks/folds.py [--rows 100000] [--data train.csv]

Logistic regression at ten strengths on five folds: four worker processes of one thread, fractional
repetition, s = 1. "In one go" is what CodedLogisticRegressionCV does: all fifty fits share their
rounds, and their scores come with them. "One by one" is CodedLogisticRegression with warm_start,
from the strongest penalty to the weakest, on the training rows of each fold. Both find their rows
placed; "placing too" are the whole calls. "Gap" is how far the worst of the fifty is above the
lowest objective that anybody has found for it, relative to that; seconds are medians of runs in
turns. Dense rows of 100 features, a tenth of them and all of them, a quarter of 400 features, and
those features of the paper's data that occur in a hundred rows, if its file is given.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from scipy.special import log_expit
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold

from common import amazon
from dask_gradcode import CodedLogisticRegression, CodedLogisticRegressionCV, place
from dask_gradcode.cluster import ClusterObjective, Placement
from dask_gradcode.codes import FractionalRepetition
from dask_gradcode.history import History
from dask_gradcode.kernels import one_blas_thread
from dask_gradcode.linear_model.candidates import Candidate, Distinct, Turns
from dask_gradcode.linear_model.pairs import Pairs
from dask_gradcode.linear_model.problem import Problem
from dask_gradcode.linear_model.space import Gram
from dask_gradcode.losses import Layout, Logistic, Squared
from dask_gradcode.optimizers import LBFGS, in_step
from dask_gradcode.work import FoldLoss

BUDGET = "budget 0.33"
CS, N_FOLDS, TOL, MAX_ITER = np.logspace(-4, 4, 10), 5, 1e-5, 1000
FREQUENT = 100
CODE = FractionalRepetition(4, 1)
SHARED = {"Cs": CS, "cv": N_FOLDS, "scoring": "neg_log_loss", "refit": False}
HOW = {"tol": TOL, "max_iter": MAX_ITER}
Way = Callable[[], tuple[Any, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="train.csv of the paper's data")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # who has not converged shows in the gap
    with (
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        for name, X, y in data_sets(args.rows, args.data):
            print(f"\n{name}: {X.shape[0]:,} x {X.shape[1]:,}")
            compare(X, y, args.repeats)


def data_sets(n_rows: int, path: Path | None) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, features and labels."""
    for n, n_features in ((n_rows // 10, 100), (n_rows, 100), (n_rows // 4, 400)):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n, n_features))
        X[:, 1:] += 0.5 * X[:, :-1]
        z = X @ rng.normal(size=n_features) / np.sqrt(n_features)
        yield "dense", X, (z + rng.logistic(size=n) > 0).astype(int)
    if path is not None:
        X, _, y, _ = amazon.load(path)
        frequent = np.bincount(X.indices, minlength=X.shape[1]) >= FREQUENT
        yield "the paper's data, frequent features", X[:, np.flatnonzero(frequent)], y


def compare(X: Any, y: Any, repeats: int) -> None:
    """Print a line for each way, and the ratios."""
    folds = [train for train, _ in StratifiedKFold(N_FOLDS).split(X, y)]
    seconds: dict[str, list[float]] = {}
    found: dict[str, tuple[Any, int]] = {}
    with ExitStack() as stack:
        one_by_one = [stack.enter_context(place(X[k], y[k], code=CODE)) for k in folds]
        pairs = Pairs(np.array([0, 1]), N_FOLDS)
        together = stack.enter_context(place(X, pairs.of(y, held_out(folds, len(y))), code=CODE))
        ways: dict[str, Way] = {
            "in one go": lambda: in_one_go(together, pairs),
            "one by one": lambda: warm_started(one_by_one),
            "in one go, placing too": lambda: whole(X, y),
            "one by one, placing too": lambda: placed_and_warm_started(X, y, folds),
            "scikit-learn": lambda: scikit_learns(X, y),
        }
        for name in [*ways] * repeats:
            began = perf_counter()
            models, n_rounds = ways[name]()
            seconds.setdefault(name, []).append(perf_counter() - began)
            found[name] = values(X, y, folds, models), n_rounds
    least = np.min([lost for lost, _ in found.values()], axis=0)
    took = {name: median(each) for name, each in seconds.items()}
    print(f"{'':24s}{'rounds':>8s}{'seconds':>10s}{'gap':>10s}")
    for name, (lost, n_rounds) in found.items():
        print(f"{name:24s}{n_rounds:8d}{took[name]:10.3f}{(lost / least - 1.0).max():10.1e}")
    for ours, others, said in (
        ("in one go", "one by one", f" ({BUDGET})"),
        ("in one go, placing too", "one by one, placing too", ""),
        ("in one go, placing too", "scikit-learn", ""),
    ):
        print(f"{ours} / {others}: seconds {took[ours] / took[others]:.2f}{said}")


def in_one_go(data: Placement, pairs: Pairs) -> tuple[Any, int]:
    """Return models and rounds of all fits together, as CodedLogisticRegressionCV makes them."""
    layout, work = Layout(data.n_features, 1, 0, True), FoldLoss(Logistic(), score="neg_log_loss")
    weights, turns = pairs.weights(data.targets).sum(axis=1), Turns(History(data.code, "stream"))
    weight, zero, runs = weights.sum(), np.zeros(layout.size), []
    with (
        ClusterObjective(data, work) as objective,
        ClusterObjective(data, Squared()) as squares,
        one_blas_thread(),
    ):
        seen = squares.second_order(zero)
        turns.note(zero, seen, is_score=True)
        gram = Gram(seen.hessian, weight, None)
        for C in CS:
            all_rows = Problem(Logistic(), 1.0 / weight, 1.0 / (C * weight), curvature=0.25)
            space = gram.space(all_rows, layout, data.spread, 0.25)
            for fold in range(N_FOLDS):
                kept = weight - weights[fold]
                problem = replace(all_rows, scale=1.0 / kept, alpha=1.0 / (C * kept))
                candidate = Candidate(problem, space, data.spread, fold)
                runs.append(candidate.run(LBFGS(), zero, turns, **HOW))
        fits = in_step(Distinct(objective), runs)
    models = np.array([fit.w for fit in fits]).reshape(len(CS), N_FOLDS, -1).swapaxes(0, 1)
    return models, len(turns.history)


def warm_started(placed: Sequence[Placement]) -> tuple[Any, int]:
    """Return models and rounds of one fit after the other, from the strongest penalty on."""
    models, n_rounds = [], 0
    for data in placed:
        model = CodedLogisticRegression(warm_start=True, **HOW)
        for C in CS:
            n_rounds += len(model.set_params(C=C).fit(data).history_)
            models.append([*model.coef_[0], *model.intercept_])
    return np.array(models).reshape(N_FOLDS, len(CS), -1), n_rounds


def placed_and_warm_started(X: Any, y: Any, folds: Sequence[Any]) -> tuple[Any, int]:
    """Return models and rounds, where each fold's rows are placed for its fits."""
    with ExitStack() as stack:
        return warm_started([stack.enter_context(place(X[k], y[k], code=CODE)) for k in folds])


def whole(X: Any, y: Any) -> tuple[Any, int]:
    """Return models and rounds of the estimator."""
    model = CodedLogisticRegressionCV(**SHARED, **HOW, code=CODE).fit(X, y)
    return model.coefs_paths_[:, 0, :, 0], len(model.history_)


def scikit_learns(X: Any, y: Any) -> tuple[Any, int]:
    """Return scikit-learn's models, and its iterations."""
    with one_blas_thread():
        model = LogisticRegressionCV(**SHARED, **HOW).fit(X, y)
    (paths,) = model.coefs_paths_.values()
    return paths.reshape(N_FOLDS, len(CS), -1), int(np.sum(model.n_iter_))


def held_out(folds: Sequence[Any], n_rows: int) -> Any:
    """Return for each row in which fold it is held out."""
    return np.argmin([np.isin(np.arange(n_rows), train) for train in folds], axis=0)


def values(X: Any, y: Any, folds: Sequence[Any], models: Any) -> Any:
    """Return scikit-learn's objective at each model, over the number of its training rows."""
    found = []
    for train, path in zip(folds, models, strict=True):
        margins = np.where(y[train] == 1, 1.0, -1.0)[:, None] * (
            X[train] @ path[:, :-1].T + path[:, -1]
        )
        penalties = 0.5 * (path[:, :-1] ** 2).sum(axis=1) / CS
        found.append((penalties - log_expit(margins).sum(axis=0)) / len(train))
    return np.array(found)


if __name__ == "__main__":
    main()
