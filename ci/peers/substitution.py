"""Run other projects' tests against our estimators: a pytest plugin.

While a test module of ``expected.toml`` is imported, the names of the twins' classes are bound to
ours in the package that it imports them from. Which of its tests are skipped, and which fail
because of a difference that is meant, is listed there, too: a test that is listed as different must
fail, with the error that is listed, and every pattern must be needed.
"""

from __future__ import annotations

import fnmatch
import importlib
import re
import tomllib
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from inspect import getattr_static, signature
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from distributed import Client
from sklearn.utils._param_validation import StrOptions

import dask_gradcode.linear_model
from dask_gradcode.linear_model.parameters import SOLVERS
from dask_gradcode.optimizers import Optimizer

EXPECTED = tomllib.loads(Path(__file__).with_name("expected.toml").read_text())
KINDS = {"skip": "not about ours", "differs": "differs", "mend": "to be mended"}


@dataclass(eq=False)
class Entry:
    """A row of the table: some tests, what becomes of them, and why."""

    kind: str
    tests: list[str]
    reason: str
    error: str = ""
    used: set[str] = field(default_factory=set)

    def takes(self, test: str) -> bool:
        """Say whether a test is one of this entry's."""
        patterns = [p for p in self.tests if fnmatch.fnmatchcase(test, p.replace("[", "[[]"))]
        self.used.update(patterns)
        return bool(patterns)


ENTRIES = [Entry(kind, **row) for kind in KINDS for row in EXPECTED.get(kind, [])]
OF_ITEM = pytest.StashKey[Entry]()
COUNTS: Counter[str] = Counter()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Import a test module with our classes under the twins' names."""
    if isinstance(collector, pytest.Module):
        with substituted(EXPECTED["modules"].get(collector.path.stem, {})):
            return (yield)
    return (yield)


@contextmanager
def substituted(module: dict[str, Any]) -> Iterator[None]:
    """Bind the twins' names to ours."""
    with ExitStack() as stack:
        for place, ours in module.get("classes", {}).items():
            package, _, name = place.rpartition(".")
            package = importlib.import_module(package)
            stand_in = standing_in(getattr(dask_gradcode.linear_model, ours), package, name, module)
            stack.enter_context(mock.patch.object(package, name, stand_in))
        yield


def standing_in(ours: Any, package: Any, name: str, module: dict[str, Any]) -> type:
    """Return our class with what the tests need of the twin's.

    That is the names of its solvers, its private helpers, and its parameters that ours has not got,
    as long as they have their defaults.
    """
    twin = getattr(package, name)
    solvers = module.get("solvers", {})
    defaults = {key: p.default for key, p in signature(twin).parameters.items()}
    parameters = signature(ours).parameters

    class Meta(type(ours)):  # type: ignore[misc]
        def __call__(cls, *args: Any, **given: Any) -> Any:
            kept = {
                key: value
                for key, value in given.items()
                if (key in parameters and value is not None) or defaults.get(key, cls) is not value
            }
            return super().__call__(*args, **kept)

    def _solver(self: Any) -> Any:
        with mock.patch.object(self, "solver", solvers.get(self.solver, self.solver)):
            return ours._solver(self)

    names = [StrOptions({*ours._solvers, *solvers}), Optimizer]
    borrowed = [member for member in module.get("borrowed", []) if hasattr(twin, member)]
    members = {member: getattr_static(twin, member) for member in borrowed}
    members["_parameter_constraints"] = {**ours._parameter_constraints, "solver": names}
    return Meta(ours.__name__, (ours,), {**members, "_solver": _solver})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look up every test in the table."""
    for item in items:
        test = f"{item.path.name}::{item.name}"
        found = [entry for entry in ENTRIES if entry.takes(test)]
        solver = foreign_solver(item)
        if solver is not None:
            item.add_marker(pytest.mark.skip(reason=f"{KINDS['skip']}: solver {solver!r}"))
        elif found and found[0].kind == "skip":
            item.add_marker(pytest.mark.skip(reason=f"{KINDS['skip']}: {found[0].reason}"))
        elif found:
            item.stash[OF_ITEM] = found[0]
    present = {item.path.name for item in items}
    for entry in ENTRIES:
        for pattern in set(entry.tests) - entry.used:
            if pattern.partition("::")[0] in present:
                raise pytest.UsageError(f"{pattern} of expected.toml is no test (any more)")


def foreign_solver(item: Any) -> str | None:
    """Return the solver that a test is about, if none of ours stands for it."""
    solver = item.callspec.params.get("solver") if hasattr(item, "callspec") else None
    known = {*SOLVERS, *EXPECTED["modules"].get(item.path.stem, {}).get("solvers", {})}
    return solver if isinstance(solver, str) and solver not in known else None


@pytest.fixture(scope="module", autouse=True)
def workers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start a cluster for the modules that want one; its client is the current one."""
    if not EXPECTED["modules"].get(request.path.stem, {}).get("cluster", False):
        yield
        return
    with Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0"):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
    """Turn an expected failure into xfailed, an unexpected success or another error into red."""
    report = yield
    entry = item.stash.get(OF_ITEM, None)
    if entry is None or call.when != "call":
        return report
    if call.excinfo is None:
        report.outcome = "failed"
        report.longrepr = f"It passes: take it out of expected.toml, under {entry.reason!r}"
    elif re.search(entry.error, call.excinfo.exconly()):
        report.outcome = "skipped"
        report.wasxfail = f"{KINDS[entry.kind]}: {entry.reason}"
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what became of the tests."""
    if report.outcome == "skipped":
        why = getattr(report, "wasxfail", None) or report.longrepr[2]
        kinds = [kind for kind in KINDS.values() if f"{kind}: " in why]
        COUNTS[kinds[0] if kinds else "skipped by the test itself"] += 1
    elif report.when == "call" or report.failed:
        COUNTS[report.outcome] += 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many passed, were skipped, differ."""
    terminalreporter.section("other projects' tests against our estimators")
    for what, count in COUNTS.most_common():
        terminalreporter.write_line(f"{count:5} {what}")
