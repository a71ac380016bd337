"""The guide's page about twins says what is different, and nothing else is."""

from __future__ import annotations

import inspect
import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import sklearn.linear_model
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.svm import LinearSVC
from sklearn.utils.fixes import parse_version

from dask_gradcode import linear_model

pytestmark = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"),
    reason="the page is about scikit-learn 1.9",
)

PAGE = Path(__file__).parents[2] / "examples" / "guide" / "twins.md"
RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(60, 3)), columns=list("abc"))
Y = 1 + RNG.integers(0, 3, 60)
TWINS = {"LinearSVC": LinearSVC, **vars(sklearn.linear_model)}
every_estimator = pytest.mark.parametrize("name", linear_model.__all__)


@cache
def table(heading: str) -> dict[str, dict[str, set[str]]]:
    """Return the names in a table of the page: by estimator, by method or "" for its own."""
    text = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    found: dict[str, dict[str, set[str]]] = {}
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    for estimators, names, why in rows[1:]:
        assert why
        for estimator in re.findall(r"\w+", estimators):
            of = found.setdefault(estimator, {})
            for method, arguments in re.findall(r"`(\w+)(?:\((.+?)\))?`", names):
                listed = arguments.split(", ") if arguments else [method]
                of.setdefault(method if arguments else "", set()).update(listed)
    return found


def listed(heading: str, name: str, method: str = "") -> set[str]:
    rows = table(heading)
    return {entry for who in ("all", name) for entry in rows.get(who, {}).get(method, set())}


@cache
def fitted(name: str) -> tuple[Any, Any]:
    ours, theirs = getattr(linear_model, name)(), TWINS[name.removeprefix("Coded")]()
    if "use_legacy_attributes" in theirs.get_params():  # scikit-learn has two shapes for some
        theirs.set_params(use_legacy_attributes=False, l1_ratios=(0.0,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ours.fit(X, Y), theirs.fit(X, Y)


def names_of(model: Any) -> set[str]:
    """Return the names of parameters, fitted attributes and methods."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated
        public = {
            name
            for name in dir(model)
            if not name.startswith("_")
            and (name.endswith("_") or callable(getattr(type(model), name, None)))
        }
        return {name for name in public if hasattr(model, name)} | set(model.get_params())


@every_estimator
def test_what_it_has_not_is_on_the_page(name: str) -> None:
    ours, theirs = map(names_of, fitted(name))
    assert theirs - ours <= listed("Has not", name)
    assert listed("Has not", name) & ours == set()


@every_estimator
def test_what_it_has_besides_is_on_the_page(name: str) -> None:
    ours, theirs = map(names_of, fitted(name))
    assert ours - theirs <= listed("Has besides", name)
    besides = listed("Has besides", name) - {"set_callbacks"}  # of scikit-learn 1.9
    assert besides - listed("Has not", name) <= ours


@every_estimator
def test_defaults_that_differ_are_on_the_page(name: str) -> None:
    ours = fitted(name)[0].get_params()
    # a default that will change is "warn", and until then what the estimator's page says
    theirs = {
        key: None if value == "warn" else value
        for key, value in TWINS[name.removeprefix("Coded")]().get_params().items()
    }
    common = ours.keys() & theirs.keys()
    differ = {key for key in common if ours[key] != theirs[key]}
    assert differ - listed("Has besides", name) == listed("Defaults that differ", name) & common


@every_estimator
def test_methods_take_what_the_twins_do(name: str) -> None:
    ours, theirs = map(type, fitted(name))
    for method in {entry for entry in dir(theirs) if not entry.startswith("_")}:
        pair = [getattr(owner, method, None) for owner in (ours, theirs)]
        if all(map(inspect.isroutine, pair)):
            mine, twins = (set(inspect.signature(each).parameters) for each in pair)
            assert twins - mine - {"self"} <= listed("Has not", name, method), method


@every_estimator
def test_attributes_have_the_twins_types_and_shapes(name: str) -> None:
    ours, theirs = fitted(name)
    attributes = {entry for entry in vars(ours) if entry.endswith("_")} & set(dir(theirs))
    assert {"coef_", "intercept_", "n_features_in_", "feature_names_in_"} <= attributes
    for attribute in attributes:
        mine, twins = getattr(ours, attribute), getattr(theirs, attribute)
        if twins is not None:  # as iterations of a solver that does not iterate
            assert np.shape(mine) == np.shape(twins), attribute
            assert np.asarray(mine).dtype.kind == np.asarray(twins).dtype.kind, attribute


def test_the_page_names_estimators_that_there_are() -> None:
    for heading in ("Has not", "Has besides", "Defaults that differ"):
        assert table(heading).keys() <= {"all", *linear_model.__all__}


@every_estimator
def test_classifiers_are_linear_ones_to_scikit_learn(name: str) -> None:
    ours, theirs = fitted(name)
    assert isinstance(ours, LinearClassifierMixin) == isinstance(theirs, LinearClassifierMixin)
