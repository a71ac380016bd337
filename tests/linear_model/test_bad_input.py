"""Bad input is refused before any work, in scikit-learn's words where it has some."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from scipy.sparse import csr_array

from dask_gradcode import CodedLogisticRegression, InsufficientWorkersError, place
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, Uncoded
from dask_gradcode.optimizers import Nesterov
from dask_gradcode.rounds import Deadline, Fastest
from helpers import gradcode_keys, logistic_data, wait_until

X, Y = logistic_data(60, 3)


def spoilt(value: Any, dtype: Any = float) -> Any:
    bad = X.astype(dtype)
    bad[7, 1] = value
    return bad


def weights(*values: float) -> Any:
    return np.resize(np.array(values), len(Y))


DATA: dict[str, tuple[tuple[Any, ...], str]] = {
    "NaN": ((spoilt(np.nan), Y), r"Input X contains NaN\."),
    "inf": ((spoilt(np.inf), Y), "Input X contains infinity or a value too large for"),
    "sparse NaN": ((csr_array(spoilt(np.nan)), Y), r"Input X contains NaN\."),
    "strings": ((spoilt("a", object), Y), "^Column 1 of X must hold num.*float: 'a'. Encode it"),
    "complex": ((X + 0j, Y), "Complex data not supported"),
    "no rows": ((X[:0], Y[:0]), r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\) while a minim"),
    "no columns": ((X[:, :0], Y), r"Found array with 0 feature\(s\) \(shape=\(60, 0\)\) while"),
    "1-D": ((X[:, 0], Y), r"(?s)Expected 2D array, got 1D array instead.*reshape\(-1, 1\)"),
    "lengths": ((X, Y[:-1]), r"inconsistent numbers of samples: \[60, 59\]"),
    "y missing": ((X, None), "requires y to be passed, but the target y is None"),
    "y 2-D": ((X, np.c_[Y, Y]), r"y should be a 1d array, got an array of shape \(60, 2\) instead"),
    "NaN in y": ((X, np.where(Y, np.nan, 0.0)), r"Input y contains NaN\."),
    "one class": ((X, np.zeros(60, int)), "contains only one class: 0$"),
    "labels that float64 cannot hold": (
        (X, np.where(Y, 2**60, 2**60 + 1)),
        r"too large to be told apart as float64.*y\.astype\(str\)",
    ),
    "continuous y": ((X, X[:, 0]), "Unknown label type: continuous. Maybe you are trying to fit a"),
    "weights' length": ((X, Y, np.ones(3)), r"sample_weight.shape == \(3,\), expected"),
    "weights < 0": ((X, Y, weights(1, -1)), "Negative values in data passed to `sample_weight`"),
    "weights 0": ((X, Y, weights(0)), "Sample weights must contain at least one non-zero number"),
    "NaN weights": ((X, Y, weights(1, np.nan)), "Input sample_weight contains NaN"),
}

PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "n_stragglers": (
        {"n_stragglers": 4},
        r"^n_stragglers must be .* less than the number of workers, got n_stragglers=4 for 4 worke",
    ),
    "C": ({"C": -1}, r"'C' parameter of CodedLogisticRegression must be a float in the range \(0"),
    "C=0": ({"C": 0.0}, r"'C' parameter of .* Got 0\.0 instead"),
    "C=nan": ({"C": np.nan}, r"'C' parameter of .* Got nan instead"),
    "tol": ({"tol": -1e-3}, "'tol' parameter of CodedLogisticRegression must be a float in the"),
    "max_iter": ({"max_iter": 1.5}, "'max_iter' parameter of CodedLogisticRegression must be an"),
    "code": ({"code": "turbo"}, r"'code' parameter .*'auto'.* Got 'turbo' instead"),
    "solver": ({"solver": "newton"}, r"'solver' parameter .*'lbfgs'.* Got 'newton' instead"),
    "transport": ({"transport": "udp"}, r"'transport' parameter .* Got 'udp' instead"),
    "wait": ({"wait": "soon"}, r"'wait' parameter .* Got 'soon' instead"),
    "l1_ratio": ({"l1_ratio": 1.5}, r"'l1_ratio' parameter .* Got 1\.5 instead"),
    "l1_ratio with lbfgs": (
        {"l1_ratio": 0.5},
        r"LBFGS\(n_corrections=10\) needs a smooth objective .*\(l1_ratio > 0\).*'nesterov'",
    ),
    "l1_ratio with the paper's momentum": (
        {"l1_ratio": 0.5, "solver": Nesterov(step=1.0, momentum="paper")},
        r"momentum='paper'\) needs a smooth objective .*\(l1_ratio > 0\).*'nesterov'",
    ),
    "checkpoint": ({"checkpoint": 3}, r"'checkpoint' parameter .* Got 3 instead"),
    "class_weight": (
        {"class_weight": {0: 1, 5: 2}},
        r"The classes, \[1\], are not in class_w",
    ),
    "class_weight 0": (
        {"class_weight": {0: 0, 1: 0}},
        r"No row counts with class_weight=\{0: 0, 1: 0\}: a class",
    ),
    "l-bfgs inexact": (
        {"wait": Deadline(1.0)},
        r"solver=LBFGS\(n_corrections=10\) needs exact sums.*'nesterov'",
    ),
    "s = n": (
        {"n_stragglers": 4, "n_workers": 4, "code": "cyclic"},
        r"an int in the range \[0, n_workers\)\. Got n_stragglers=4 with n_workers=4 instead",
    ),
    "s < 0": ({"n_stragglers": -1}, "'n_stragglers' parameter of CodedLogisticRegression must be"),
    "not divisible": (
        {"code": "fractional", "n_workers": 4, "n_stragglers": 2},
        r"(?s)to divide n_workers, got n_workers=4 and n_stragglers=2.*3 or 6 workers, or Cyclic",
    ),
    "uncoded, s": ({"code": "uncoded", "n_stragglers": 1}, "Uncoded needs all workers"),
    "code and s": (
        {"code": FractionalRepetition(4, 1), "n_stragglers": 3},
        r"n_stragglers=3 contradicts code=FractionalRepetition\(n_workers=4, n_stragglers=1\)",
    ),
    "code and n": ({"code": Uncoded(4), "n_workers": 2}, "n_workers=2 contradicts code=Uncoded"),
    "fastest": (
        {"wait": Fastest(9), "solver": "nesterov"},
        "Fastest needs n_workers between 1 and the code's 4, got 9",
    ),
}


def in_process(*data: Any, **parameters: Any) -> None:
    CodedLogisticRegression(**parameters).fit(*data)


def on_cluster(*data: Any, **parameters: Any) -> None:
    CodedLogisticRegression(**parameters).fit(*data)


def with_dask(X: Any, y: Any, *weights: Any, **parameters: Any) -> None:
    X, y, *weights = (
        da.from_array(a, chunks=(20, *a.shape[1:])) if isinstance(a, np.ndarray) else a
        for a in (X, y, *weights)
    )
    CodedLogisticRegression(**parameters).fit(X, y, *weights)


def refused(action: Callable[..., None], *data: Any, text: str, **parameters: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=text):
        action(*data, **parameters)


@pytest.mark.parametrize("case", DATA)
def test_bad_data_in_this_process(case: str) -> None:
    data, text = DATA[case]
    refused(in_process, *data, text=text)


@pytest.mark.cluster
@pytest.mark.parametrize("case", DATA)
def test_bad_data_on_a_cluster(client: Client, case: str) -> None:
    data, text = DATA[case]
    wait_until(lambda: not gradcode_keys(client))
    before = n_transitions(client)
    refused(on_cluster, *data, text=text)
    assert n_transitions(client) == before  # not one task


@pytest.mark.cluster
@pytest.mark.parametrize("case", [case for case in DATA if "sparse" not in case])
def test_bad_data_in_dask_arrays(client: Client, case: str) -> None:
    data, text = DATA[case]
    if case == "strings":
        data = (X.astype(str), Y)
        text = "dtype='numeric' is not compatible with arrays of bytes/strings"
    if case == "1-D":
        text = r"(?s)Expected 2D array, got 1D array instead.*reshape\(-1, 1\)"
    refused(with_dask, *data, text=text)


@pytest.mark.cluster
def test_weights_that_cannot_be_aligned(client: Client) -> None:
    rows, labels = da.from_array(X, chunks=(20, 3)), da.from_array(Y, chunks=20)
    kept = labels >= 0
    text = r"between y and sample_weight are not consistent: {}, .*compute_chunk_sizes\(\)"
    refused(in_process, rows[kept], labels[kept], np.ones(60), text=text.format("3 != 1"))
    weight = da.ones(60, chunks=20)[kept]
    refused(in_process, rows[kept], Y, weight, text=text.format("1 != 3"))


@pytest.mark.cluster
def test_targets_of_no_use_are_not_placed(client: Client) -> None:
    rows = da.from_array(X, chunks=(20, 3))
    mixed = da.from_array(np.array([0, 1] * 10 + ["a", "b"] * 20, dtype=object), chunks=20)
    wait_until(lambda: not gradcode_keys(client))
    seen = n_shards(client)
    refused(in_process, rows, da.zeros(60, chunks=20), text="contains only one class: 0")
    refused(in_process, rows, mixed, text="Unknown label type: unknown")
    assert n_shards(client) == seen
    CodedLogisticRegression().fit(rows, Y)
    assert n_shards(client) > seen  # so the count counts


def n_shards(client: Client) -> int:
    """Return how many changes of state the scheduler has seen of shards, of late."""

    def count(dask_scheduler: Any) -> int:
        log = dask_scheduler.transition_log
        return sum("gradcode-shard" in str(entry[0]) for entry in log)

    found: int = client.run_on_scheduler(count)
    return found


@pytest.mark.cluster
@pytest.mark.parametrize("case", PARAMETERS)
def test_bad_parameters_are_refused_before_any_task(client: Client, case: str) -> None:
    parameters, text = PARAMETERS[case]
    wait_until(lambda: not gradcode_keys(client))
    before = n_transitions(client)
    refused(on_cluster, X, Y, text=text, **parameters)
    assert n_transitions(client) == before or case == "fastest"  # that needs to know the code
    wait_until(lambda: not gradcode_keys(client))


def n_transitions(client: Client) -> int:
    """Return how many changes of task states the scheduler has seen: no work, no change."""
    count: int = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    return count


@pytest.mark.cluster
def test_a_placement_decides_the_code(client: Client) -> None:
    with place(X, Y, code=CyclicRepetition(4, 1)) as data:
        assert CodedLogisticRegression().fit(data).code_ == data.code
        assert CodedLogisticRegression(code="cyclic", n_stragglers=1).fit(data).code_ == data.code
        for parameters in (
            {"code": "fractional"},
            {"code": "uncoded"},
            {"code": CyclicRepetition(4, 1, seed=1)},
            {"n_stragglers": 2},
            {"n_workers": 3},
        ):
            refused(
                in_process, data, text="contradicts the placed data, whose code is", **parameters
            )
        refused(in_process, data, Y, text="y and sample_weight are part of the placed data")


@pytest.mark.cluster
def test_more_code_workers_than_the_cluster_has(client: Client) -> None:
    with pytest.raises(
        InsufficientWorkersError,
        match=r"needs 9 workers, .*cluster at tcp://\S+ has 4\. .*client\.wait_for_workers\(9\)",
    ):
        CodedLogisticRegression(n_workers=9).fit(X, Y)
    with pytest.raises(ValueError, match=r"cuts the data into 4 blocks, but it has only 3 rows"):
        CodedLogisticRegression().fit(X[:3], [0, 1, 1])


@pytest.mark.cluster
def test_clients_that_cannot_be_used(client: Client) -> None:
    closed = Client(client.scheduler.address, set_as_default=False)
    closed.close()
    with pytest.raises(RuntimeError, match=r"The Dask client is closed.*Create a new Client"):
        CodedLogisticRegression(client=closed).fit(X, Y)
    with pytest.raises(TypeError, match="client must be a distributed"):
        CodedLogisticRegression(client=8786).fit(X, Y)
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        pass
    with pytest.raises(RuntimeError, match=r"The cluster \w+ is closed\. Start a new one"):
        CodedLogisticRegression(client=cluster).fit(X, Y)

    async def use_asynchronous_client() -> None:
        async with Client(
            client.scheduler.address, asynchronous=True, set_as_default=False
        ) as asynchronous:
            CodedLogisticRegression(client=asynchronous).fit(X, Y)

    with pytest.raises(TypeError, match="needs a synchronous Client, got an asynchronous one"):
        asyncio.run(use_asynchronous_client())
