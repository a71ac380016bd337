"""Train any model whose objective is a sum over rows: here a small network, in plain NumPy.

    python examples/block_function.py

Workers run one function of your own, ``(w, block) -> (value, gradient)``. It is trained twice on
four worker processes: once undisturbed, and once while a worker is killed (SIGKILL) on the way.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from scipy.special import log_softmax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dask_gradcode import place
from dask_gradcode.cluster import ClusterObjective
from dask_gradcode.history import History, Recorder
from dask_gradcode.objective import Penalised
from dask_gradcode.optimizers import LBFGS

PIXELS, HIDDEN, CLASSES = 64, 20, 10
SHAPES = [(PIXELS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,)]
SIZES = [int(np.prod(shape)) for shape in SHAPES]


def layers(w: Any) -> list[Any]:
    """Cut the parameter vector into the weights and biases of two layers."""
    parts = np.split(w, np.cumsum(SIZES)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, SHAPES, strict=True)]


def network(w: Any, block: Any) -> tuple[float, Any]:
    """Return the cross-entropy of a block, summed over its rows, and its gradient.

    This is all that a worker needs to know of the model. ``block`` has ``X``, ``y`` and
    ``sample_weight``, of which a sum over rows makes what it likes.
    """
    W1, b1, W2, b2 = layers(w)
    rows, y = np.arange(block.n_rows), block.y.astype(int)
    hidden = np.tanh(block.X @ W1 + b1)
    log_p = log_softmax(hidden @ W2 + b2, axis=1)

    at_output = np.exp(log_p)
    at_output[rows, y] -= 1.0
    at_hidden = (at_output @ W2.T) * (1.0 - hidden**2)
    gradient = [block.X.T @ at_hidden, at_hidden.sum(0), hidden.T @ at_output, at_output.sum(0)]
    return -log_p[rows, y].sum(), np.concatenate([part.ravel() for part in gradient])


def predict(w: Any, X: Any) -> Any:
    W1, b1, W2, b2 = layers(w)
    return (np.tanh(X @ W1 + b1) @ W2 + b2).argmax(axis=1)


def digits() -> Any:
    """Return pixels between 0 and 1 and labels, for training and for a test."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16.0, y, test_size=0.25, random_state=0)


def train(function: Any, w0: Any, X: Any, y: Any, kill_after: int | None = None) -> Any:
    """Minimise the mean of the function plus a small ridge penalty, by coded rounds."""
    with (
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        place(X, y, code="fractional", n_stragglers=1, client=client) as data,
        ClusterObjective(data, function) as total,
    ):
        pids = client.run(os.getpid)

        def callback(n_iter: int, w: Any, seen: Any) -> None:
            if n_iter == kill_after:
                os.kill(pids[data.addresses[0]], signal.SIGKILL)

        history = History(data.code, total.transport)
        mean = Penalised(total, scale=1 / len(y), alpha=1e-3, n_penalised=w0.size)
        solution = LBFGS().minimize(
            Recorder(mean, history), w0, max_iter=60, tol=1e-3, callback=callback
        )
        after = "undisturbed" if kill_after is None else f"worker 0 killed after {kill_after}"
        lost = sum(bool(record.lost) for record in history)
        print(f"{after}: {solution.n_iter} iterations, {len(history)} rounds, {lost} with a loss")
        return solution.w


def main() -> None:
    X, X_test, y, y_test = digits()
    w0 = np.random.default_rng(0).normal(scale=0.2, size=sum(SIZES))
    print(f"a network of {w0.size:,} parameters on {len(y):,} digits")
    undisturbed = train(network, w0, X, y)
    killed = train(network, w0, X, y, kill_after=10)
    print(f"test accuracy: {np.mean(predict(killed, X_test) == y_test):.3f}")
    print(f"largest difference of a parameter: {np.abs(killed - undisturbed).max():.1e}")


if __name__ == "__main__":
    main()
