"""Fits with a cyclic code among workers that lie: the honest coefficients, and who it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from distributed import Client
from numpy.testing import assert_allclose

from dask_gradcode import CodedLinearRegression, CodedLogisticRegression, place
from dask_gradcode.cluster import Lies, inject
from dask_gradcode.cluster.worker.lies import KINDS
from dask_gradcode.codes import CyclicRepetition, FractionalRepetition
from dask_gradcode.rounds import Fastest, WrongSumsError
from helpers import in_process_coef, logistic_data

X, Y = logistic_data(400, 3)


def coef_of(model: Any) -> Any:
    return np.append(model.coef_, model.intercept_)


@pytest.mark.cluster
@pytest.mark.parametrize("transport", ["stream", "tasks"])
@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_are_those_of_the_honest_fit(
    cluster: Client, transport: str, kind: str
) -> None:
    code = CyclicRepetition(4, 2)
    with place(X, Y, code=code) as data, inject(cluster, Lies(kind, workers=[1], from_round=2)):
        model = CodedLogisticRegression(tol=1e-8, transport=transport, verify="syndrome").fit(data)
    assert_allclose(coef_of(model), in_process_coef(X, Y, code, tol=1e-8), rtol=1e-6)
    found = [e for e in model.history_.events if e.what in ("expelled", "unverified")]
    # it may never have been among the first three
    assert [(e.what, e.worker, e.blocks) for e in found] in ([], [("expelled", 1, (1, 2, 3))])


@pytest.mark.cluster
def test_auto_is_cyclic_of_which_one_liar_is_located(cluster: Client) -> None:
    model = CodedLinearRegression(verify="syndrome", client=cluster).fit(X, Y)
    assert model.code_ == CyclicRepetition(4, 2)
    assert not model.history_.events
    model = CodedLinearRegression(verify="syndrome", n_stragglers=1, client=cluster)
    with inject(cluster, Lies("sign", workers=[3])), pytest.raises(WrongSumsError, match="Round 0"):
        model.fit(X, Y)
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_stragglers": 0}, "Use code='cyclic' with n_stragglers=2"),
        ({"code": "fractional"}, "or verify=1 with code='fractional'"),
        ({"code": FractionalRepetition(4, 1)}, "verify='syndrome' needs CyclicRepetition"),
        ({"wait": Fastest(2), "solver": "nesterov"}, "verify='syndrome' needs exact sums"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(parameters: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        CodedLogisticRegression(verify="syndrome", **parameters).fit(X, Y)


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_who_rounds_otherwise_raises_no_alarm_also_where_nothing_is_left_of_residuals(
    mixed: Client,
) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2000, 30)) * 10.0 ** rng.integers(-3, 4, 30)
    noiseless = rows @ rng.normal(size=30)
    labels = (noiseless > 0).astype(int)
    for s in (1, 2, 3):
        with place(rows, noiseless, code=CyclicRepetition(4, s)) as data:
            model = CodedLinearRegression(
                verify="syndrome", solver="lbfgs", tol=1e-12, max_iter=200
            ).fit(data)
        assert not [e for e in model.history_.events if e.what in ("expelled", "unverified")]
        with place(rows, labels, code=CyclicRepetition(4, s)) as data:
            classifier = CodedLogisticRegression(verify="syndrome", tol=1e-8).fit(data)
        assert not [e for e in classifier.history_.events if e.what in ("expelled", "unverified")]
