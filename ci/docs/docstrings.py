"""Check that every public name has a complete docstring and a place in the reference.

Run by ``ci/docs/build``. The rules are numpydoc's (https://numpydoc.readthedocs.io, validation).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import FunctionType

from numpydoc.validate import validate

PACKAGE = "dask_gradcode"
MODULES = (
    "cluster",
    "codes",
    "history",
    "launch",
    "losses",
    "objective",
    "optimizers",
    "payloads",
    "rounds",
    "several",
    "simulation",
    "stragglers",
    "typing",
    "work",
)
NOT_ASKED = {
    "GL01",  # text begins on the line of the opening quotes, as ruff wants it
    "ES01",  # no extended summary where one line says all
    "SA01",  # no "See Also"
    "GL02",  # where quotes close is ruff's affair
}
SHORT = {"PR01", "RT01"}  # a member of one line says its parts in words
MEMBERS = (FunctionType, property, cached_property, classmethod, staticmethod)
GUIDE = Path(__file__).parents[2] / "examples" / "guide"


def public() -> Iterator[tuple[str, object]]:
    """Yield each public name, with its module, once: as the reference lists it."""
    for module in (PACKAGE, *(f"{PACKAGE}.{name}" for name in MODULES)):
        loaded = import_module(module)
        for name in loaded.__all__:
            yield f"{module}.{name}", getattr(loaded, name)


def members(cls: type) -> Iterator[str]:
    """Yield the methods and properties of a class that are not overrides without words."""
    for name, item in vars(cls).items():
        if name.startswith("_") or not isinstance(item, MEMBERS):
            continue
        if item.__doc__ is None and any(hasattr(base, name) for base in cls.__mro__[1:]):
            continue
        yield name


def faults(name: str, *, member: bool = False) -> Iterator[str]:
    """Yield what numpydoc finds wrong with a docstring."""
    report = validate(name)
    one_line = "\n" not in report["docstring"].strip()
    for code, text in report["errors"]:
        spared = member and (code == "EX01" or (one_line and code in SHORT))
        if code not in NOT_ASKED and not spared:
            yield f"{name}: {code} {text}"


def main() -> int:
    """Print all faults and return how many there are."""
    pages = "\n".join(page.read_text() for page in sorted(GUIDE.glob("api/*.md")))
    listed = set(re.findall(r"^   (\w+)$|``(\w+)``", pages, re.MULTILINE))
    names = {either for pair in listed for either in pair}
    found: list[str] = []
    for name, item in public():
        if name.rsplit(".", 1)[-1] not in names:
            found.append(f"{name}: is on no page of {GUIDE.name}/api")
        if inspect.isclass(item):
            # a protocol is not called
            is_protocol = getattr(item, "_is_protocol", False)
            found += [text for text in faults(name) if not (is_protocol and ": PR01" in text)]
            for member in members(item):
                found += faults(f"{name}.{member}", member=True)
        elif inspect.isfunction(item):
            found += faults(name)
    print(*found, sep="\n" if found else "", end="\n" if found else "")
    print(f"docstrings: {len(found)} faults")
    return len(found)


if __name__ == "__main__":
    sys.exit(bool(main()))
