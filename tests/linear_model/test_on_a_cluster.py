"""On a cluster: the same model, whatever the data is, and whoever owns the client."""

from __future__ import annotations

import pickle
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.svm import LinearSVC

from dask_gradcode import CodedLinearSVC, CodedLogisticRegression, place
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition, Uncoded
from dask_gradcode.optimizers import Nesterov
from dask_gradcode.rounds import Deadline, Fastest
from helpers import (
    assert_same_model,
    frozen,
    gradcode_keys,
    logistic_data,
    pid_of,
    reference,
    tight,
    wait_until,
)

pytestmark = pytest.mark.cluster

X, Y = logistic_data(203, 4)
WEIGHT = np.random.default_rng(5).integers(0, 3, len(Y)).astype(float)
NAMES = np.array(["no", "yes"])[Y]


def chunked(*arrays: Any, rows: tuple[int, ...] = (50, 31, 203)) -> list[Any]:
    """Return dask arrays, each chunked in its own way."""
    return [da.from_array(a, chunks=(n, *a.shape[1:])) for a, n in zip(arrays, rows, strict=False)]


@pytest.mark.parametrize(
    "code",
    ["auto", "fractional", "cyclic", "uncoded", CyclicRepetition(3, 2), FractionalRepetition(4, 3)],
    ids=str,
)
def test_every_code_gives_scikit_learns_coefficients(client: Client, code: Any) -> None:
    ours = tight(code=code).fit(X, NAMES, WEIGHT)
    assert_same_model(ours, reference().fit(X, NAMES, WEIGHT))
    assert ours.history_.transport == "stream"
    assert ours.history_.code == ours.code_


@pytest.mark.parametrize("class_weight", [None, "balanced", {"no": 3.0}], ids=str)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_weights_on_dask_arrays(client: Client, class_weight: Any, weight: Any) -> None:
    data = chunked(X, NAMES) if weight is None else chunked(X, NAMES, weight)
    ours = tight(class_weight=class_weight).fit(*data)
    assert_same_model(ours, reference(class_weight=class_weight).fit(X, NAMES, weight))


def test_one_weight_for_all_rows(client: Client) -> None:
    expected = reference().fit(X, Y, np.full(len(Y), 2.5))
    assert_same_model(tight().fit(*chunked(X, Y), 2.5), expected)
    assert_same_model(tight().fit(X, Y, 2.5), expected)


@pytest.mark.parametrize(
    "convert", [csr_array, pd.DataFrame, np.asfortranarray, lambda X: X.astype("f4")]
)
def test_data_in_memory_of_any_kind(client: Client, convert: Any) -> None:
    rough = X.astype("f4").astype(float)
    ours = tight().fit(convert(rough), Y)
    assert_same_model(ours, reference().fit(rough, Y))


def test_dask_frames_keep_their_names(client: Client) -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(y=Y)
    lazy = dd.from_pandas(frame, npartitions=3)
    ours = tight().fit(lazy[list("abcd")], lazy["y"])
    assert_same_model(ours, reference().fit(X, Y))
    assert ours.feature_names_in_.tolist() == list("abcd")
    predicted = ours.predict(lazy[list("abcd")])
    assert_array_equal(predicted.compute(), ours.predict(frame[list("abcd")]))


def test_prediction_is_lazy_for_dask_arrays_and_score_is_a_float(client: Client) -> None:
    ours = tight().fit(X, NAMES)
    theirs = reference().fit(X, NAMES)
    lazy, names = chunked(X, NAMES)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        found, expected = getattr(ours, method)(lazy), getattr(theirs, method)(X)
        assert isinstance(found, da.Array)
        assert found.chunks[0] == lazy.chunks[0]
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        computed = found.compute()
        if expected.dtype.kind == "f":
            assert_allclose(computed, expected, atol=1e-5)
        else:
            assert_array_equal(computed, expected)
    assert type(ours.score(lazy, names)) is float
    assert ours.score(lazy, names) == theirs.score(X, NAMES)
    weight = da.from_array(WEIGHT, chunks=40)
    assert ours.score(lazy, names, weight) == pytest.approx(theirs.score(X, NAMES, WEIGHT))
    with pytest.raises(ValueError, match="X has 2 features, but CodedLogisticRegression is expe"):
        ours.predict(lazy[:, :2])


def test_sparse_chunks_are_predicted_where_they_are(client: Client) -> None:
    lazy = chunked(X)[0].map_blocks(csr_array, meta=csr_array((0, 0)))
    ours = tight().fit(lazy, Y)
    assert_same_model(ours, reference().fit(X, Y))
    assert_array_equal(ours.predict(lazy).compute(), ours.predict(X))


def test_many_fits_on_placed_data(client: Client) -> None:
    with place(X, NAMES, sample_weight=WEIGHT, code="cyclic", n_stragglers=2) as data:
        model = tight(warm_start=True)
        for C in (0.01, 0.1, 1.0):
            model.set_params(C=C).fit(data)
            assert_same_model(model, reference(C=C).fit(X, NAMES, WEIGHT))
        assert model.code_ == data.code == CyclicRepetition(4, 2)
        wait_until(lambda: not any("gradcode-message" in key for key in gradcode_keys(client)))
    wait_until(lambda: not gradcode_keys(client))


def test_the_seed_is_the_codes(client: Client) -> None:
    seeded = tight(code="cyclic", random_state=3).fit(X, Y)
    assert seeded.code_ == CyclicRepetition(4, 1, seed=3)
    drawn = tight(code="cyclic", random_state=np.random.RandomState(0)).fit(X, Y)
    assert drawn.code_.seed > 0
    with place(X, Y, code="cyclic", random_state=7) as data:
        assert data.code == CyclicRepetition(4, 1, seed=7)


def test_a_search_shares_the_client(client: Client) -> None:
    model = tight(client=client)
    assert clone(model).client is client
    search = GridSearchCV(model, {"C": [0.01, 1.0]}, cv=2).fit(X, Y)
    assert search.best_estimator_.client is client
    assert search.best_estimator_.history_.transport == "stream"
    expected = GridSearchCV(reference(), {"C": [0.01, 1.0]}, cv=2).fit(X, Y)
    assert_allclose(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    twin = pickle.loads(pickle.dumps(search.best_estimator_))
    assert twin.client is None
    assert_array_equal(twin.predict(X), search.predict(X))
    wait_until(lambda: not gradcode_keys(client))


def test_an_address_is_a_client(client: Client) -> None:
    address = client.scheduler.address
    model = tight(client=address).fit(X, Y)
    assert_same_model(model, reference().fit(X, Y))
    assert clone(model).client == address
    assert pickle.loads(pickle.dumps(model)).client == address
    assert Client.current() is client
    wait_until(lambda: not gradcode_keys(client))


def test_the_fastest_workers_alone_are_a_biased_estimate(client: Client) -> None:
    with place(X, Y, code=Uncoded(4)) as data:
        biased = CodedLogisticRegression(wait=Fastest(3), solver=Nesterov(step=0.5), max_iter=5)
        with pytest.warns(UserWarning, match="failed to converge"):
            biased.fit(data)
        frame = biased.history_.to_frame()
        assert set(frame.n_used) == {3}
        assert not frame.exact.any()
        assert (frame.residual == 1.0).all()
        assert "approximate" in repr(biased.history_)


def test_a_deadline_nobody_misses_is_exact(client: Client) -> None:
    with place(X, Y, code=CyclicRepetition(4, 1)) as data:
        model = tight(wait=Deadline(60.0), solver="nesterov", tol=1e-9).fit(data)
    assert model.history_.to_frame().exact.all()
    assert_same_model(model, reference().fit(X, Y), atol=1e-5)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
def test_support_vectors_of_many_classes_whoever_is_frozen(client: Client, solver: str) -> None:
    labels = np.array(["a", "b", "c"])[np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])]
    theirs = LinearSVC(C=0.1, dual=False, tol=1e-10, class_weight="balanced")
    theirs.fit(X, labels, WEIGHT)
    model = CodedLinearSVC(C=0.1, solver=solver, class_weight="balanced", tol=1e-8)
    lazy = chunked(X, labels, WEIGHT)
    whole = model.fit(*lazy).coef_.tobytes()
    assert_allclose(model.coef_, theirs.coef_, atol=1e-6)
    assert_allclose(model.intercept_, theirs.intercept_, atol=1e-6)
    assert_array_equal(model.predict(lazy[0]).compute(), theirs.predict(X))
    assert model.score(*lazy) == pytest.approx(theirs.score(X, labels, WEIGHT))
    with place(*lazy[:2], sample_weight=lazy[2]) as data:
        for address in data.addresses.values():
            with frozen(pid_of(client, address)):
                assert model.fit(data).coef_.tobytes() == whole
