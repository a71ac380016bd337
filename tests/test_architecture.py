"""What may import what, tried in a fresh Python."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CORE = ["codes", "losses", "optimizers", "stragglers", "payloads", "kernels", "work", "inspection"]
CORE += ["rounds", "objective", "history", "simulation", "html"]
HEAVY = ["dask", "distributed", "sklearn", "mpi4py", "dask_mpi", "pandas", "matplotlib"]


def loaded_after(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(out.stdout))


@pytest.mark.parametrize("module", CORE)
def test_the_core_loads_neither_dask_nor_sklearn(module: str) -> None:
    assert not loaded_after(f"import dask_gradcode.{module}") & set(HEAVY)


def test_the_package_alone_loads_almost_nothing() -> None:
    assert not loaded_after("import dask_gradcode") & {*HEAVY, "numpy", "scipy"}


def test_an_estimator_in_this_process_loads_no_dask() -> None:
    fit = "from dask_gradcode import CodedLogisticRegression as L; L().fit([[0.], [1.]], [0, 1])"
    assert not loaded_after(fit) & {"dask", "distributed", "mpi4py", "dask_mpi"}


def test_nobody_needs_mpi() -> None:
    everything = "from dask_gradcode import CodedLogisticRegression, place; import dask_gradcode"
    assert not loaded_after(everything) & {"mpi4py", "dask_mpi"}


def test_the_log_is_not_printed_unless_asked_for() -> None:
    warn = "logging.getLogger('dask_gradcode').warning('lost')"
    for ask, printed in (("", ""), ("logging.basicConfig();", "WARNING:dask_gradcode:lost\n")):
        code = f"import logging, dask_gradcode; {ask} {warn}"
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (out.stdout, out.stderr) == ("", printed)


def test_public_names_are_found_and_unknown_ones_are_not() -> None:
    import dask_gradcode

    for name in dask_gradcode.__all__:
        assert getattr(dask_gradcode, name).__name__ == name
        assert name in dir(dask_gradcode)
    assert dask_gradcode.__version__
    with pytest.raises(AttributeError, match="has no attribute 'spam'"):
        dask_gradcode.spam  # noqa: B018
