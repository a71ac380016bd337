"""Dask data and no client: the fit owns a cluster, says so, and closes it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from runpy import run_path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client
from sklearn.linear_model import LogisticRegression

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.codes import FractionalRepetition, Uncoded
from helpers import logistic_data

pytestmark = pytest.mark.cluster

X, Y = logistic_data(80, 3)
LAZY = da.from_array(X, chunks=(30, 3)), da.from_array(Y, chunks=30)


def no_client() -> bool:
    with pytest.raises(ValueError, match="No clients found"):
        Client.current()
    return True


def test_a_fit_owns_a_cluster(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="dask_gradcode")
    model = CodedLogisticRegression(tol=1e-10).fit(*LAZY)
    reference = LogisticRegression(tol=1e-12, solver="newton-cg").fit(X, Y)
    np.testing.assert_allclose(model.coef_, reference.coef_, atol=1e-6)
    assert model.history_.transport == "stream"
    assert any("starting a LocalCluster" in record.message for record in caplog.records)
    assert no_client()


def test_a_placement_owns_one_until_it_is_closed() -> None:
    with place(X, Y) as data:
        assert no_client()
        assert data.client.status == "running"
        first = CodedLogisticRegression().fit(data)
        assert first.code_ == data.code
    assert data.client.status == "closed"
    assert no_client()


@pytest.mark.parametrize(
    "given",
    [
        {"n_stragglers": 2},
        {"n_workers": 5},
        {"code": "cyclic", "n_stragglers": 2, "n_workers": 5},
        {"code": FractionalRepetition(4, 1)},
        {"transport": "tasks"},
    ],
)
def test_coding_that_is_not_used_is_warned_of(given: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="no Dask client") as warned:
        model = CodedLogisticRegression(**given).fit(X, Y)
    assert model.code_ == Uncoded(1)
    assert {one.filename for one in warned} == {__file__}
    for name, value in given.items():
        assert f"{name}={value!r}" in str(warned[0].message)


@pytest.mark.parametrize(
    "given",
    [{}, {"code": "uncoded"}, {"code": Uncoded(1)}, {"n_workers": 1, "n_stragglers": 0}],
)
def test_what_a_fit_in_this_process_gives_is_not_warned_of(given: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CodedLogisticRegression(**given).fit(X, Y).code_ == Uncoded(1)


def test_the_newest_closed_default_client_is_named() -> None:
    closed = []
    for _ in range(3):
        with Client(processes=False, n_workers=1, dashboard_address=":0") as client:
            closed.append(client)
    newest = closed[-1].id
    with pytest.warns(UserWarning, match=f"n_stragglers=1 is not used.*{newest} is closed"):
        CodedLogisticRegression(n_stragglers=1).fit(X, Y)


@pytest.mark.parametrize("verify", [1, "audit"])
def test_in_this_process_nobody_can_verify_and_that_is_said(verify: int | str) -> None:
    with pytest.warns(UserWarning, match=f"verify={verify!r} is not used"):
        CodedLogisticRegression(verify=verify).fit(X, Y)


def test_coding_that_a_task_cannot_do_is_warned_of() -> None:
    def fit() -> str:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            CodedLogisticRegression(n_stragglers=1).fit(X, Y)
        return " ".join(str(one.message) for one in warned)

    with Client(processes=False, n_workers=1, dashboard_address=":0") as client:
        said = client.submit(fit).result()
    assert "n_stragglers=1 is not used, as a task of Dask has no client" in said


UNGUARDED = """
import dask.array as da
import numpy as np
from dask_gradcode import place

def fit():
    place(da.ones((4, 2)), np.array([0, 1, 0, 1]))

fit()
"""
GUARDED = """
from dask_gradcode.cluster.client.guard import check_guard

if __name__ == "__main__":
    check_guard()
    passed = True
"""
GUARDED_WITHIN = """
from contextlib import suppress
from dask_gradcode.cluster.client.guard import check_guard

with suppress(OSError):
    if __name__ == "__main__":
        check_guard()
        passed = True
"""


def test_a_script_without_a_guard_is_told_its_line(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    with pytest.raises(RuntimeError, match=r"^Line 9 of .*script\.py starts worker processes, and"):
        run_path(str(script), run_name="__main__")
    for guarded in (GUARDED, GUARDED_WITHIN):
        script.write_text(guarded)
        assert run_path(str(script), run_name="__main__")["passed"]
