"""The guide's code is a code like any other, and what its pages show is what happens."""

from __future__ import annotations

import doctest
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

from dask_gradcode import codes, rounds
from dask_gradcode.cluster.placement.roles import Roles
from dask_gradcode.cluster.placement.seat import Seat
from dask_gradcode.codes import Uncoded
from dask_gradcode.simulation import SimulatedObjective

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "examples" / "guide"


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # pickle looks there
    spec.loader.exec_module(module)
    return module


GROUPS = loaded(GUIDE / "group_repetition.py")
CONTRACT = loaded(ROOT / "tests" / "codes" / "test_every_code.py")
CODES = [GROUPS.GroupRepetition(n, s) for n, s in ((1, 0), (4, 1), (5, 1), (7, 2), (8, 3), (5, 4))]


def promises() -> Iterator[tuple[str, Callable[..., None], dict[str, Any]]]:
    """Yield the tests of the contract over all codes, once for each of their other arguments."""
    for name, test in vars(CONTRACT).items():
        marks = {mark.args[0]: mark.args[1] for mark in getattr(test, "pytestmark", ())}
        tried = marks.pop("code", None)
        if tried is CONTRACT.CODES or tried is CONTRACT.EXACT:
            for values in product(*marks.values()):
                yield name, test, dict(zip(marks, values, strict=True))


@pytest.mark.parametrize("code", CODES, ids=repr)
def test_the_guides_code_keeps_what_every_code_promises(
    code: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codes, "GroupRepetition", GROUPS.GroupRepetition, raising=False)
    kept = set()
    for name, test, others in promises():
        test(code=code, **others)
        kept.add(name)
    assert len(kept) >= 10


def test_the_code_on_the_page_is_the_files() -> None:
    page, file = (GUIDE / name for name in ("add_a_code.md", "group_repetition.py"))
    shown = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert len(shown) == 3
    assert [code for code in shown if code not in file.read_text()] == []


def test_the_guides_code_refuses_more_stragglers_than_workers() -> None:
    with pytest.raises(ValueError, match=r"needs 0 <= n_stragglers < n_workers, got n_workers=2"):
        GROUPS.GroupRepetition(2, 2)


@pytest.mark.cluster
def test_the_guides_code_trains_from_a_script_while_a_worker_never_answers() -> None:
    command = [sys.executable, str(GUIDE / "group_repetition.py")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr
    page = (GUIDE / "add_a_code.md").read_text()
    shown = page.split("$ python examples/guide/group_repetition.py\n")[1].split("```")[0]
    said, shown = (re.sub(r"[\d.]+(e-\d+)?", "#", text).split() for text in (run.stdout, shown))
    assert said == shown  # but for the numbers
    assert float(run.stdout.split()[-1]) < 1e-4


@pytest.mark.parametrize("page", sorted(GUIDE.glob("*.[mp][dy]")), ids=lambda page: page.name)
def test_examples_on_the_pages_show_what_happens(page: Path) -> None:
    text = page.read_text()
    shown = re.findall(r"^```pycon\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if page.suffix == ".py":
        shown = [text.split('"""')[3]]
    names = {} if page.suffix == ".md" else vars(loaded(page)).copy()
    test = doctest.DocTestParser().get_doctest("\n".join(shown), names, page.name, str(page), 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    assert not said, "".join(said)


def test_the_names_on_the_page_of_states_are_the_codes_own() -> None:
    text = (GUIDE / "states.md").read_text()
    drawn = "".join(re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    quoted = re.findall(r"`([A-Za-z_.]+)(?:\([a-z]*\))?`", prose)
    classes = set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)*\b", drawn))
    known = {**vars(rounds), "Seat": Seat, "Roles": Roles}
    code = Uncoded(1)
    things = (Seat(0, "", ""), rounds.State(code), rounds.Round(0, code), SimulatedObjective)
    own = {name for name in quoted if name[0].isupper()} | classes
    assert {"Round", "Planner", "Seat", "Roles", "State", "WaitRule"} <= own
    for kind in (*get_args(rounds.Event), *get_args(rounds.Order), *get_args(rounds.Outcome)):
        assert kind.__name__ in own
    for name in own:
        head, *rest = name.split(".")
        assert head in known, name
        assert all(hasattr(known[head], attribute) for attribute in rest), name
    states = {"asked", "arrived", "lost", "errors", "silent", "unplaced", "coming", "shard"}
    assert states <= set(re.findall(r"\w+", drawn))
    for name in states | {name for name in quoted if name.islower()}:
        head, *_ = name.split(".")
        if head not in ("dask_gradcode", "examples", "log", "history_"):
            assert any(hasattr(thing, head) for thing in things), name
