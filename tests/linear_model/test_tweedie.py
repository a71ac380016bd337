"""Regression with Tweedie's distributions, over powers and links, against its twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.sparse import csr_array
from sklearn.linear_model import GammaRegressor, TweedieRegressor

from dask_gradcode import CodedGammaRegressor, CodedTweedieRegressor
from dask_gradcode.typing import Vector

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
WEIGHT = RNG.integers(1, 4, 200).astype(float)
MEAN = 8.0 + X @ [0.5, -0.4, 0.0]
AMOUNTS = MEAN * RNG.gamma(5.0, 0.2, 200)
POWERS = [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
every_power = pytest.mark.parametrize("power", POWERS)


def targets(power: float) -> Vector:
    """Return targets on the border of the domain, too."""
    return np.where(np.arange(200) % 20 == 0, 0.0, AMOUNTS) if 0 <= power < 2 else AMOUNTS


@every_power
@pytest.mark.parametrize("link", ["auto", "identity", "log"])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
def test_every_power_and_link_is_scikit_learns(power: float, link: str, solver: str) -> None:
    y = AMOUNTS if link == "identity" else targets(power)  # whose means of 0 stop the twin
    parameters = {"power": power, "link": link, "alpha": 0.1, "max_iter": 1000}
    theirs = TweedieRegressor(tol=1e-8, **parameters).fit(X, y, WEIGHT)
    ours = CodedTweedieRegressor(solver=solver, tol=1e-7, **parameters).fit(X, y, WEIGHT)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    assert_allclose(ours.predict(csr_array(X)), theirs.predict(X), rtol=1e-5)
    assert ours.score(X, y, WEIGHT) == pytest.approx(theirs.score(X, y, WEIGHT), abs=1e-7)
    assert_array_equal(ours.to_sklearn().predict(X), ours.predict(X))


def test_weights_are_repeated_rows() -> None:
    twice = np.repeat(np.arange(200), WEIGHT.astype(int))
    model = CodedTweedieRegressor(power=1.5, tol=1e-9)
    weighted = model.fit(X, AMOUNTS, WEIGHT).coef_
    assert_allclose(model.fit(X[twice], AMOUNTS[twice]).coef_, weighted, atol=1e-9)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
def test_without_an_intercept_the_identity_link_finds_positive_means(
    power: float, solver: str
) -> None:
    rows = abs(X) + 0.1
    model = CodedTweedieRegressor(
        power=power, link="identity", alpha=0.01, fit_intercept=False, solver=solver, tol=1e-8
    ).fit(rows, AMOUNTS)

    def objective(w: Vector) -> float:
        loss = CodedTweedieRegressor(power=power, link="identity")._family().loss()
        return float(loss.pointwise(rows @ w, AMOUNTS)[0].mean() + 0.005 * w @ w)

    best = minimize(objective, np.ones(3), method="Nelder-Mead", options={"maxiter": 5000})
    assert objective(model.coef_) <= best.fun * (1 + 1e-9)
    assert (model.predict(rows) > 0.0).all()


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize(("power", "link"), [(1.5, "log"), (2.0, "log"), (3.0, "identity")])
def test_the_unit_of_the_targets_makes_no_difference(unit: float, power: float, link: str) -> None:
    model = CodedTweedieRegressor(power=power, link=link, alpha=0.0, tol=1e-6)
    plain = model.fit(X, AMOUNTS).predict(X)
    assert_allclose(model.fit(X, unit * AMOUNTS).predict(X), unit * plain, rtol=1e-3)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [({"power": np.inf}, "'power' parameter"), ({"link": "logit"}, "'link' parameter")],
)
def test_bad_parameters_are_refused(parameters: Any, text: str) -> None:
    for model in (CodedTweedieRegressor(**parameters), TweedieRegressor(**parameters)):
        with pytest.raises(ValueError, match=text):
            model.fit(X, AMOUNTS)


def test_a_score_refuses_what_a_fit_does() -> None:
    model = CodedGammaRegressor().fit(X, AMOUNTS)
    for fitted in (model, GammaRegressor().fit(X, AMOUNTS)):
        with pytest.raises((ValueError, AttributeError)):  # the twin fails to say it
            fitted.score(X, -AMOUNTS)
    assert model.score(X[:1], model.predict(X[:1])) == pytest.approx(1.0)


def test_a_fitted_model_keeps_its_link_when_parameters_change() -> None:
    model = CodedTweedieRegressor(power=1.5).fit(X, AMOUNTS)
    before = model.predict(X), model.score(X, AMOUNTS)
    model.set_params(power=0.0)
    assert_array_equal(model.predict(X), before[0])
    assert model.score(X, AMOUNTS) == before[1]
