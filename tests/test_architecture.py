"""What may import what, tried in a fresh Python."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

CORE = ["codes", "losses", "optimizers", "stragglers", "payloads", "kernels", "work", "inspection"]
CORE += ["rounds", "objective", "history", "simulation", "html", "several"]
HEAVY = ["dask", "distributed", "sklearn", "mpi4py", "dask_mpi", "pandas", "matplotlib"]


PACKAGE = Path(__file__).parents[1] / "dask_gradcode"
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is not in a function, type-checking blocks included."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from outside_functions(child)


def imported_by(module: str) -> set[str]:
    found = set[str]()
    for node in outside_functions(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            whole = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in FILES else node.module for name in whole}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & FILES.keys()) - {module}


def test_no_imports_run_in_a_circle_those_for_types_included() -> None:
    TopologicalSorter({module: imported_by(module) for module in FILES}).prepare()


def n_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how long a function is, without its docstring."""
    assert function.end_lineno is not None
    first = function.body[0]
    assert first.end_lineno is not None
    has_docstring = ast.get_docstring(function) is not None
    of_docstring = first.end_lineno - first.lineno + 1 if has_docstring else 0
    return function.end_lineno - function.lineno + 1 - of_docstring


def test_files_and_functions_are_short() -> None:
    long: dict[str, int] = {}
    for module, path in FILES.items():
        text = path.read_text()
        if (n := len(text.splitlines())) > 300:
            long[module] = n
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and n_lines(node) > 50:
                long[f"{module}.{node.name}"] = n_lines(node)
    assert not long


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
