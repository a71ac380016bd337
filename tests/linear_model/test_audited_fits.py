"""Audited fits among workers that lie: the coefficients of the honest fit, and who it was."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_array_equal

from dask_gradcode import (
    CodedLinearRegression,
    CodedLogisticRegression,
    CodedPoissonRegressor,
    CodedRidge,
    place,
)
from dask_gradcode.cluster import Lies, inject
from dask_gradcode.cluster.worker.lies import KINDS
from dask_gradcode.codes import CyclicRepetition, DeclusteredRepetition, FractionalRepetition
from dask_gradcode.rounds import Fastest
from helpers import in_process_coef, logistic_data

X, Y = logistic_data(400, 3)
CODE = DeclusteredRepetition(4, 1, n_leaves=4)

OUTCOMES = [["expelled", "taken back"], ["expelled"], []]
"""What is told of a liar: where it is late and others do its work, its sums are not used."""


def coef_of(model: Any) -> Any:
    return np.append(model.coef_, model.intercept_)


@pytest.mark.cluster
@pytest.mark.parametrize("transport", ["stream", "tasks"])
@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_are_those_of_the_honest_fit(
    cluster: Client, transport: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    lies = Lies(kind, workers=[1], from_round=2)
    with place(X, Y, code=CODE) as data, inject(cluster, lies), caplog.at_level(logging.WARNING):
        model = CodedLogisticRegression(tol=1e-8, transport=transport, verify="audit").fit(data)
    assert_array_equal(coef_of(model), in_process_coef(X, Y, CODE, tol=1e-8))
    expelled, *taken_back = model.history_.events
    assert (expelled.what, expelled.worker) == ("expelled", 1)
    assert expelled.blocks == CODE.blocks_of(1)
    assert len(taken_back) == (1 if expelled.rounds else 0)  # late sums were not used
    for back in taken_back:
        assert back.what == "taken back"
        assert back.rounds[0] == expelled.rounds[0] >= 2
        assert back.cost > 0.0
        assert f"1 expelled, {len(back.rounds)} rounds taken back" in str(model.history_)
    assert [record.round for record in model.history_] == list(range(len(model.history_)))
    assert sum("is expelled: " in record.getMessage() for record in caplog.records) == 1


@pytest.mark.cluster
@pytest.mark.parametrize("solver", ["newton-cholesky", "nesterov", "gradient-descent"])
def test_every_solver_goes_back(cluster: Client, solver: str) -> None:
    how: dict[str, Any] = {"solver": solver, "tol": 1e-3, "max_iter": 60}
    with place(X, Y, code=CODE) as data:
        honest = CodedLogisticRegression(**how).fit(data)
        with inject(cluster, Lies("chunk", workers=[0], from_round=2)):
            model = CodedLogisticRegression(verify="audit", **how).fit(data)
    assert_array_equal(coef_of(model), coef_of(honest))
    assert model.n_iter_ == honest.n_iter_
    assert [event.what for event in model.history_.events] in OUTCOMES
    assert [record.round for record in model.history_] == list(range(len(model.history_)))


@pytest.mark.cluster
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_of_one_round_is_checked(cluster: Client, kind: str) -> None:
    targets = X @ np.array([1.0, 2.0, 3.0]) + 1.0
    several = np.column_stack([targets, -targets])
    for model, y in (
        (CodedLinearRegression, targets),
        (CodedRidge, targets),
        (CodedLinearRegression, several),
    ):
        honest = model(client=cluster, code=CODE).fit(X, y)
        with inject(cluster, Lies(kind, workers=[3])):
            found = model(client=cluster, code=CODE, verify="audit").fit(X, y)
        assert_array_equal(found.coef_, honest.coef_)
        assert [event.what for event in found.history_.events] in OUTCOMES


@pytest.mark.cluster
def test_auto_is_declustered_where_sums_are_audited(cluster: Client) -> None:
    model = CodedPoissonRegressor(verify="audit", client=cluster).fit(X, Y)
    assert isinstance(model.code_, DeclusteredRepetition)
    assert model.code_.n_stragglers == 1
    assert not model.history_.events
    model = CodedLinearRegression(verify="audit", code="fractional", client=cluster).fit(X, Y)
    assert model.code_ == FractionalRepetition(4, 1)
    assert not model.history_.events


@pytest.mark.cluster
def test_what_was_wrong_is_not_saved_and_told_no_twice(
    cluster: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how: dict[str, Any] = {"solver": "gradient-descent", "tol": 1e-3, "max_iter": 30}
    with place(X, Y, code=CODE) as data:
        honest = CodedLogisticRegression(verbose=1, **how).fit(data)
        lines = [line.split(" in ")[0] for line in capsys.readouterr().out.splitlines()]
        with inject(cluster, Lies("sign", workers=[2], from_round=5)):
            model = CodedLogisticRegression(
                verify="audit", checkpoint=tmp_path, checkpoint_every=1, verbose=1, **how
            ).fit(data)
        told = [line.split(" in ")[0] for line in capsys.readouterr().out.splitlines()]
        assert_array_equal(coef_of(model), coef_of(honest))
        values = [line for line in lines if ": value" in line]
        assert values
        assert {line.split(",")[0] for line in values} <= {line.split(",")[0] for line in told}
        more = CodedLogisticRegression(checkpoint=tmp_path, **{**how, "max_iter": 31}).fit(data)
        longer = CodedLogisticRegression(**{**how, "max_iter": 31}).fit(data)
    assert_array_equal(coef_of(more), coef_of(longer))


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_stragglers": 0}, "n_stragglers=0 gives 1. Use n_stragglers=1 or more"),
        ({"code": "cyclic"}, "Use code='auto', 'declustered' or 'fractional', or verify=0"),
        ({"code": CyclicRepetition(4, 1)}, "Use code='declustered' or 'fractional' with n_str"),
        ({"wait": Fastest(2), "solver": "nesterov"}, "verify='audit' needs exact sums"),
        ({"verify": "audits"}, "'verify' parameter"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(parameters: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        CodedLogisticRegression(**{"verify": "audit", **parameters}).fit(X, Y)
