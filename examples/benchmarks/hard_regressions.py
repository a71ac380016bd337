"""Regressions with hard numbers: units, offsets, outliers. What the twin reaches, and what we do.

    python examples/benchmarks/hard_regressions.py

"Before" is what L-BFGS reaches on the columns and targets as they are, without the coordinates in
which the estimators work: it is computed here. Scores are R^2 (D^2 for Poisson regression) on the
training rows, for Huber's regression the scale.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.linear_model import HuberRegressor, LinearRegression, PoissonRegressor, Ridge

from dask_gradcode import CodedHuberRegressor, CodedPoissonRegressor, CodedRidge
from dask_gradcode.losses import Huber, Loss, Poisson, Squared

RNG = np.random.default_rng(0)
N_ROWS = 2000


def main() -> None:
    print(f"{'case':32s}{'twin':>12s}{'before':>12s}{'now':>12s}{'iterations':>12s}{'rounds':>8s}")
    for name, model, twin, X, y in cases():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            began = time.perf_counter()
            model.fit(X, y)
            seconds = time.perf_counter() - began
        said = " warned" if caught else ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = X if model.alpha else standard(X, model.fit_intercept)
            twin.fit(rows, y)
            reached = before(model, X, y)
        is_huber = isinstance(model, CodedHuberRegressor)
        theirs = twin.scale_ if is_huber else twin.score(rows, y)
        ours = model.scale_ if is_huber else model.score(X, y)
        print(
            f"{name:32s}{theirs:12.6g}{reached:12.6g}{ours:12.6g}{model.n_iter_:12d}"
            f"{len(model.history_):8d}  {seconds:.2f} s{said}"
        )


def cases() -> Iterator[tuple[str, Any, Any, Any, Any]]:
    """Yield name, model, twin, rows and targets."""
    N = RNG.normal(size=(N_ROWS, 3))

    def linear(X: Any, noise: float) -> Any:
        spread = np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
        y = (X - X.mean(axis=0)) / spread @ RNG.normal(size=X.shape[1]) + 3.0
        return y + noise * y.std() * RNG.normal(size=len(y))

    y = linear(N, 0.14)
    wide = RNG.normal(size=(N_ROWS, 13))
    hilbert = 1.0 / (np.arange(50)[:, None] + np.arange(12) + 1.0)
    for name, X, target in (
        ("plain", N, y),
        ("targets x 1e-8", N, 1e-8 * y),
        ("features x 1e-8", 1e-8 * N, y),
        ("UTM", N[:, :2] * 1e3 + [5e5, 4e6], None),
        ("unix time, sd 1e6", N[:, :1] * 1e6 + 1.7e9, None),
        ("mean 1e6, sd 1", N + 1e6, None),
        ("mean 1e9, sd 1", N + 1e9, None),
        ("mean 1e12, sd 1", N + 1e12, None),
        ("scales 1e-6 to 1e6", wide * np.logspace(-6, 6, 13), None),
        ("scales 1e-3 to 1e3", wide * np.logspace(-3, 3, 13), None),
        ("Hilbert, 50 x 12", hilbert, None),
    ):
        target = linear(X, 0.1) if target is None else target
        yield f"Ridge: {name}", CodedRidge(0.0), LinearRegression(), X, target
    utm = N[:, :2] * 1e3 + [5e5, 4e6]
    for name, X in (
        ("UTM", utm),
        ("UTM and ones", np.column_stack([utm, np.ones(N_ROWS)])),
        ("mean 1e6, sd 1", N + 1e6),
        ("mean 1e9, sd 1", N + 1e9),
        ("Hilbert, 50 x 12", hilbert),
    ):
        twin = LinearRegression(fit_intercept=False, tol=1e-16)
        yield f"No intercept: {name}", CodedRidge(0.0, fit_intercept=False), twin, X, linear(X, 0.1)
    X = wide * np.logspace(-3, 3, 13)
    yield "Ridge, alpha=1: 1e-3 to 1e3", CodedRidge(1.0), Ridge(1.0), X, linear(X, 0.1)
    counts = RNG.poisson(np.exp(9.2 + N @ [0.1, 0.05, -0.05])).astype(float)
    poisson = PoissonRegressor(alpha=0.0, solver="newton-cholesky", tol=1e-10)
    yield "Poisson: mean 1e4", CodedPoissonRegressor(alpha=0.0), poisson, N, counts
    far = 1e3 * N + 4e6
    yield "Poisson: mean 1e4, UTM", CodedPoissonRegressor(alpha=0.0), poisson, far, counts
    y = N @ [1.0, 2.0, 3.0] + 0.3 * RNG.normal(size=N_ROWS)
    for n_outliers, size in ((1, 1e6), (N_ROWS // 20, 1e3), (N_ROWS // 20, 1e6), (1, 1e9)):
        outlying = y.copy()
        outlying[:n_outliers] += size
        name = f"Huber: {n_outliers} rows + {size:.0e}"
        twin = HuberRegressor(max_iter=10_000, tol=1e-8)
        yield name, CodedHuberRegressor(), twin, N, outlying


def standard(X: Any, has_intercept: bool) -> Any:
    """Return columns in their own units: on these a twin without a penalty is exact."""
    if has_intercept:
        return (X - X.mean(axis=0)) / X.std(axis=0)
    return X / np.linalg.norm(X, axis=0)


def before(model: Any, X: Any, y: Any) -> float:
    """Return what L-BFGS reaches without coordinates, with the options and tol of the twin."""
    huber = isinstance(model, CodedHuberRegressor)
    poisson = isinstance(model, CodedPoissonRegressor)
    loss: Loss = Huber() if huber else Poisson() if poisson else Squared()
    n_features, divisor = X.shape[1], len(y) if poisson else 1.0
    alpha = 2 * model.alpha if huber else model.alpha
    rows = np.column_stack([X, np.full(len(y), float(model.fit_intercept))])

    def evaluate(w: Any) -> tuple[float, Any]:
        z = rows @ w[: n_features + 1]
        # the scale as it was: 1 + t above 1, exp(t) below
        small = np.exp(np.clip(w[-1], -200.0, 0.0))
        scale = np.full(len(y), small + max(w[-1], 0.0))
        value, slope = loss.pointwise(np.column_stack([z, scale]) if huber else z, y)
        slope = slope.reshape(len(y), -1)
        gradient = np.append(rows.T @ slope[:, 0] / divisor, small * slope[:, 1:].sum(axis=0))
        gradient[:n_features] += alpha * w[:n_features]
        penalty = 0.5 * alpha * w[:n_features] @ w[:n_features]
        return float(value.sum() / divisor + penalty), gradient

    start = np.zeros(n_features + 1 + huber)
    start[n_features] = np.log(y.mean()) if poisson else y.mean()
    options = {"gtol": 1e-5 if huber else 1e-4, "ftol": 64 * np.finfo(float).eps, "maxls": 50}
    options["maxiter"] = 1000
    w = minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options).x
    if huber:
        return float(np.exp(max(w[-1], -200.0)) if w[-1] < 0 else 1.0 + w[-1])
    z = rows @ w[: n_features + 1]
    lost, trivial = (loss.pointwise(p, y)[0].sum() for p in (z, np.full(len(y), start[n_features])))
    return float(1.0 - lost / trivial)


if __name__ == "__main__":
    main()
