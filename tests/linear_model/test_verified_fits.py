"""Fits among workers that lie: the coefficients of the honest fit, bit for bit, and who it was."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal

from dask_gradcode import CodedLinearRegression, CodedLogisticRegression, place
from dask_gradcode.cluster import Lies, inject
from dask_gradcode.cluster.placement.arithmetic import describer
from dask_gradcode.cluster.worker.lies import KINDS
from dask_gradcode.codes import CyclicRepetition, DeclusteredRepetition, FractionalRepetition
from dask_gradcode.rounds import Fastest
from helpers import in_process_coef, logistic_data

X, Y = logistic_data(400, 3)


def coef_of(model: Any) -> Any:
    return np.append(model.coef_, model.intercept_)


@pytest.mark.cluster
@pytest.mark.parametrize("transport", ["stream", "tasks"])
@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_are_those_of_the_honest_fit(
    cluster: Client, transport: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    code = FractionalRepetition(4, 1)
    lies = Lies(kind, workers=[1, 2], from_round=2)
    with place(X, Y, code=code) as data, inject(cluster, lies), caplog.at_level(logging.WARNING):
        model = CodedLogisticRegression(tol=1e-8, transport=transport, verify=1).fit(data)
    assert_array_equal(coef_of(model), in_process_coef(X, Y, code, tol=1e-8))
    found = [(e.round, e.worker, e.blocks) for e in model.history_.events if e.what == "expelled"]
    assert found == [(2, 1, (0, 1)), (2, 2, (2, 3))]
    assert "2 expelled" in str(model.history_)
    assert sum("is expelled: " in record.getMessage() for record in caplog.records) == 2


@pytest.mark.cluster
def test_auto_is_fractional_where_sums_are_verified(cluster: Client) -> None:
    model = CodedLinearRegression(verify=1, client=cluster).fit(X, Y)
    assert model.code_ == FractionalRepetition(4, 1)
    assert not model.history_.events
    model = CodedLinearRegression(verify=3, client=cluster).fit(X, Y)
    assert model.code_ == FractionalRepetition(4, 3)


@pytest.mark.cluster
@pytest.mark.parametrize(("verify", "n_workers"), [(4, None), (1, 3)])
def test_a_code_that_there_is_not_is_traced_to_verify(
    cluster: Client, verify: int, n_workers: int | None
) -> None:
    model = CodedLogisticRegression(verify=verify, n_workers=n_workers, client=cluster)
    with pytest.raises(ValueError, match=f"n_stragglers={verify}") as caught:
        model.fit(X, Y)
    [note] = caught.value.__notes__
    assert f"n_stragglers was not given: verify={verify} makes it {verify}" in note


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"verify": 2, "n_stragglers": 1}, "Use n_stragglers=2 or more, or verify=1"),
        ({"verify": 1, "code": "cyclic"}, "or verify=0; verify='syndrome' is for code='cyclic'"),
        ({"verify": 1, "code": CyclicRepetition(4, 1)}, "Use code='fractional' with n_str"),
        ({"verify": 1, "wait": Fastest(2), "solver": "nesterov"}, "needs exact .* wait='exact'"),
        ({"verify": 1, "code": "declustered"}, "verify='audit' is for code='declustered'"),
        ({"verify": 1, "code": DeclusteredRepetition(4, 1)}, "verify='audit' is for declustered"),
        ({"verify": True}, "verify is how many workers may be faulty, got True. Use verify=1"),
        ({"verify": -1}, "'verify' parameter"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(parameters: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        CodedLogisticRegression(**parameters).fit(X, Y)


@pytest.mark.cluster
def test_who_rounds_otherwise_is_not_expelled_and_liars_are(mixed: Client) -> None:
    assert len(set(mixed.run(describer()).values())) == 2
    rows = np.random.default_rng(0).normal(size=(2000, 30))
    labels = (rows[:, 0] + rows[:, 1] > 0.3).astype(int)
    code = FractionalRepetition(4, 1)
    expected = in_process_coef(rows, labels, code, tol=1e-6)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(rows))
        with place(rows[order], labels[order], code=FractionalRepetition(4, 3)) as data:
            model = CodedLogisticRegression(verify=3, tol=1e-6).fit(data)
        assert not [e for e in model.history_.events if e.what in ("expelled", "unverified")]
        assert_allclose(coef_of(model), expected, atol=1e-4)
    for kind in KINDS:
        with (
            place(rows, labels, code=FractionalRepetition(4, 3)) as data,
            inject(mixed, Lies(kind, workers=[1, 3])),
        ):
            model = CodedLogisticRegression(verify=2, tol=1e-6).fit(data)
        named = {e.worker for e in model.history_.events if e.what == "expelled"}
        assert named == {1, 3}
        assert_allclose(coef_of(model), expected, atol=1e-4)


@pytest.mark.cluster
def test_an_audit_expels_nobody_who_rounds_otherwise_and_finds_liars(mixed: Client) -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 30))
    labels = (rows[:, 0] + rows[:, 1] > 0.3).astype(int)
    code = DeclusteredRepetition(4, 1)
    expected = in_process_coef(rows, labels, code, tol=1e-6)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(rows))
        with place(rows[order], labels[order], code=code) as data:
            model = CodedLogisticRegression(verify="audit", tol=1e-6).fit(data)
        assert not [e for e in model.history_.events if e.what in ("expelled", "unverified")]
        assert_allclose(coef_of(model), expected, atol=1e-4)
    for kind in KINDS:
        with place(rows, labels, code=code) as data, inject(mixed, Lies(kind, workers=[1])):
            model = CodedLogisticRegression(verify="audit", tol=1e-6).fit(data)
        assert {e.worker for e in model.history_.events if e.what == "expelled"} == {1}
        assert_allclose(coef_of(model), expected, atol=1e-4)
