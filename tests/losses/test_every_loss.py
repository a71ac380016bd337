"""What every loss promises. A new loss is one line in ``LOSSES``."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

import dask_gradcode.losses
from dask_gradcode.codes import Uncoded
from dask_gradcode.losses import (
    Huber,
    Logistic,
    Loss,
    Multinomial,
    Poisson,
    Squared,
    SquaredHinge,
    Tweedie,
)
from dask_gradcode.objective import InProcessObjective
from dask_gradcode.typing import Matrix, Rows, Vector
from dask_gradcode.work import Block, as_work, of_order

LOSSES: list[tuple[Loss, tuple[float, ...]]] = [  # and labels it is given
    (Logistic(), (0.0, 1.0)),
    (Logistic(positive=-3.0), (-3.0, 2.0, 7.0)),
    (Logistic(class_weight=(0.25, 3.0)), (0.0, 1.0)),
    (Logistic(class_weight=(0.0, 1.0)), (0.0, 1.0)),
    (Multinomial((-1.0, 2.0)), (-1.0, 2.0)),
    (Multinomial((0.0, 1.0, 2.5, 7.0)), (0.0, 1.0, 2.5, 7.0)),
    (Multinomial((0.0, 1.0, 2.0), (0.0, 1.0, 2.5)), (0.0, 1.0, 2.0)),
    (SquaredHinge(), (0.0, 1.0)),
    (SquaredHinge((-1.0, 4.0), (0.25, 3.0)), (-1.0, 4.0)),
    (SquaredHinge((0.0, 1.0, 2.5), (0.0, 1.0, 2.5)), (0.0, 1.0, 2.5)),
    (Squared(), (-3.0, 0.0, 2.5)),
    (Poisson(), (0.0, 0.3, 1.0, 17.0)),
    (Huber(), (-3.0, 0.0, 2.5)),
    (Huber(epsilon=1.0), (0.0, 40.0)),
    (Tweedie(), (0.0, 0.3, 17.0)),
    (Tweedie(2.0), (0.3, 1.0, 17.0)),
    (Tweedie(1.0, link="identity", least=0.1), (0.0, 0.3, 17.0)),
    (Tweedie(-0.5, link="identity", least=0.1), (0.3, 3.0)),
    (Tweedie(0.0), (-2.0, 0.0, 3.0)),
    (Tweedie(3.0), (0.3, 17.0)),
]
BENT = {loss for loss, _ in LOSSES[-3:]}
"""Not convex; their curvature is an absolute value."""
every_loss = pytest.mark.parametrize(("loss", "labels"), LOSSES, ids=repr)


def rows(loss: Loss, labels: tuple[float, ...], *predictors: float) -> tuple[Vector, Vector]:
    """Every predictor with every label, further columns of z in another order each."""
    z, y = np.meshgrid(np.array(predictors), np.array(labels))
    n_columns = loss.n_outputs + loss.n_own
    if n_columns == 1:
        return z.ravel(), y.ravel()
    rng = np.random.default_rng(0)
    columns = [z.ravel()] + [rng.choice(predictors, z.size) for _ in range(n_columns - 1)]
    return np.column_stack(columns), y.ravel()


def moderate(loss: Loss, labels: tuple[float, ...]) -> tuple[Vector, Vector]:
    return rows(loss, labels, *np.linspace(-30.1, 29.9, 241))  # no kink of a loss or its slope


def column(z: Vector, index: int) -> Vector:
    """Return what is 1 in one column of z and 0 elsewhere."""
    unit = np.zeros_like(z)
    unit[..., index] = 1.0
    return unit if z.ndim > 1 else np.ones_like(z)


def test_every_loss_is_listed_above() -> None:
    public = [getattr(dask_gradcode.losses, name) for name in dask_gradcode.losses.__all__]
    classes = [item for item in public if inspect.isclass(item) and issubclass(item, Loss)]
    ours = [
        loss
        for loss in Loss.__subclasses__()
        if loss.__module__.startswith("dask_gradcode.losses.")
    ]
    listed = {type(loss) for loss, _ in LOSSES}
    assert {loss for loss in classes if not inspect.isabstract(loss)} == listed
    assert {*ours} == listed


@every_loss
def test_the_derivative_is_that_of_the_value(loss: Loss, labels: tuple[float, ...]) -> None:
    z, y = moderate(loss, labels)
    derivative = loss.pointwise(z, y)[1].reshape(len(y), -1)
    h = 1e-5
    for index in range(loss.n_outputs + loss.n_own):
        step = h * column(z, index)
        above, below = loss.pointwise(z + step, y)[0], loss.pointwise(z - step, y)[0]
        rounding = 1e-15 * np.abs(above).max() / h if isinstance(loss, Multinomial) else 0.0
        atol = 1e-8 + rounding
        assert_allclose(derivative[:, index], (above - below) / (2 * h), rtol=1e-7, atol=atol)


CURVED = [(loss, labels) for loss, labels in LOSSES if loss.has_curvature]
every_curved_loss = pytest.mark.parametrize(("loss", "labels"), CURVED, ids=repr)


def curvatures(loss: Loss, z: Vector, y: Vector) -> Vector:
    """Return a matrix for each row, of one linear predictor, too."""
    return loss.curvature(z, y).reshape(len(y), loss.n_outputs, loss.n_outputs)


@every_curved_loss
def test_the_curvature_is_the_derivative_of_the_derivative(
    loss: Loss, labels: tuple[float, ...]
) -> None:
    z, y = moderate(loss, labels)
    if loss in BENT:  # at the targets they are positive
        y = np.exp(z) if loss.link == "log" else z
        z, y = z[y > 0.1], y[y > 0.1]
    curvature = curvatures(loss, z, y)
    h = 1e-5
    for index in range(loss.n_outputs):
        step = h * column(z, index)
        above, below = loss.pointwise(z + step, y)[1], loss.pointwise(z - step, y)[1]
        change = (above - below).reshape(len(y), -1) / (2 * h)
        assert_allclose(curvature[:, index], change, rtol=1e-7, atol=1e-9)


@every_curved_loss
def test_the_curvature_is_symmetric_and_nowhere_negative(
    loss: Loss, labels: tuple[float, ...]
) -> None:
    curvature = curvatures(loss, *moderate(loss, labels))
    assert_array_equal(curvature, curvature.transpose(0, 2, 1))
    lowest = np.linalg.eigvalsh(curvature).min(axis=1)
    assert (lowest >= -1e-15 * np.abs(curvature).max(axis=(1, 2))).all()


@every_curved_loss
def test_the_curvature_is_new_float64_and_never_overflows(
    loss: Loss, labels: tuple[float, ...]
) -> None:
    z, y = rows(loss, labels, -1e100, -1e4, -800.0, -0.0, 0.0, 800.0, 1e4, 1e100)
    z.flags.writeable = y.flags.writeable = False
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        curvature = loss.curvature(z, y)
    assert np.isfinite(curvature).all()
    assert curvature.flags.writeable
    assert loss.curvature(z[:0], y[:0]).size == 0
    narrow = moderate(loss, labels)[0].astype(np.float32)
    assert loss.curvature(narrow, moderate(loss, labels)[1]).dtype == np.float64


@every_loss
def test_who_has_no_curvature_says_so(loss: Loss, labels: tuple[float, ...]) -> None:
    if not loss.has_curvature:
        with pytest.raises(NotImplementedError, match="has no second derivatives"):
            loss.curvature(*moderate(loss, labels))
        with pytest.raises(TypeError, match=r"no second derivatives.*'lbfgs'"):
            of_order(as_work(loss), 2)


@every_curved_loss
def test_whether_only_differences_of_predictors_count(
    loss: Loss, labels: tuple[float, ...]
) -> None:
    z, y = moderate(loss, labels)
    same = np.allclose(loss.pointwise(z + 1.0, y)[0], loss.pointwise(z, y)[0], atol=1e-12)
    assert loss.only_differences == same
    if same:
        assert_allclose(curvatures(loss, z, y).sum(axis=2), 0.0, atol=1e-15)


@pytest.mark.parametrize(("loss", "labels"), [case for case in LOSSES if case[0] not in BENT])
def test_the_loss_is_convex_in_the_predictor(loss: Loss, labels: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    sorted_ = np.sort(rng.normal(scale=20.0, size=500))
    for label in labels:
        for index in range(loss.n_outputs):
            z = np.tile(rng.normal(size=loss.n_outputs + loss.n_own), (500, 1))
            z[:, index] = sorted_
            z = z if z.shape[1] > 1 else z[:, 0]
            derivative = loss.pointwise(z, np.full(500, label))[1].reshape(500, -1)[:, index]
            assert (np.diff(derivative) >= -1e-15).all()


@every_loss
def test_the_loss_is_never_negative(loss: Loss, labels: tuple[float, ...]) -> None:
    assert (loss.pointwise(*moderate(loss, labels))[0] >= 0.0).all()


@every_loss
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_the_arrays_are_new_and_float64(
    loss: Loss, labels: tuple[float, ...], dtype: type[np.generic]
) -> None:
    z, y = (array.astype(dtype) for array in moderate(loss, labels))
    value, derivative = loss.pointwise(z, y)
    assert (value.shape, derivative.shape) == (y.shape, z.shape)
    for array in (value, derivative):
        assert array.dtype == np.float64
        assert not any(np.shares_memory(array, other) for other in (z, y))
        assert array.flags.writeable
    assert not np.shares_memory(value, derivative)


@every_loss
def test_the_inputs_are_not_modified(loss: Loss, labels: tuple[float, ...]) -> None:
    z, y = moderate(loss, labels)
    before = z.copy(), y.copy()
    z.flags.writeable = y.flags.writeable = False
    loss.pointwise(z, y)
    assert_array_equal(z, before[0])
    assert_array_equal(y, before[1])


@every_loss
def test_each_row_stands_alone(loss: Loss, labels: tuple[float, ...]) -> None:
    z, y = moderate(loss, labels)
    whole = loss.pointwise(z, y)
    parts = [loss.pointwise(z[i : i + 1], y[i : i + 1]) for i in range(len(y))]
    for index in (0, 1):
        alone = np.concatenate([part[index] for part in parts])
        # exp may differ by a bit with its length, and a difference of exps by a bit of those
        assert_allclose(alone, whole[index], rtol=1e-15, atol=1e-13)


@every_loss
def test_no_rows_are_no_losses(loss: Loss, labels: tuple[float, ...]) -> None:
    z = rows(loss, labels, 0.0)[0][:0]
    value, derivative = loss.pointwise(z, np.empty(0))
    assert (value.shape, derivative.shape) == ((0,), z.shape)


@every_loss
def test_huge_predictors_do_not_overflow(loss: Loss, labels: tuple[float, ...]) -> None:
    z, y = rows(loss, labels, -1e100, -1e4, -800.0, -0.0, 0.0, 800.0, 1e4, 1e100)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, derivative = loss.pointwise(z, y)
    assert np.isfinite(value).all()
    assert np.isfinite(derivative).all()


@every_loss
@pytest.mark.parametrize("has_intercept", [0, 1])
@pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "CSR"])
def test_points_that_share_a_pass_are_seen_as_each_alone(
    loss: Loss, labels: tuple[float, ...], form: Callable[[Matrix], Rows], has_intercept: int
) -> None:
    rng = np.random.default_rng(0)
    X, y = form(rng.integers(-2, 3, (60, 4)).astype(float)), rng.choice(labels, 60)
    objective = InProcessObjective(Uncoded(1), {0: Block(X, y, rng.random(60))}, loss)
    size = (4 + has_intercept) * loss.n_outputs + loss.n_own
    points = np.abs(rng.normal(size=(3, size)))  # a scale among them is positive
    together = objective.many(points)
    for seen, w in zip(together, points, strict=True):
        alone = objective(w)
        assert_allclose(seen.value, alone.value, rtol=1e-13)
        largest = abs(alone.gradient).max()
        assert_allclose(seen.gradient, alone.gradient, rtol=1e-12, atol=1e-13 * largest)
    assert len({seen.value for seen in together}) == 3


@every_loss
def test_a_pickled_loss_is_the_same_loss(loss: Loss, labels: tuple[float, ...]) -> None:
    twin = pickle.loads(pickle.dumps(loss))
    assert twin == loss
    z, y = moderate(loss, labels)
    for theirs, mine in zip(twin.pointwise(z, y), loss.pointwise(z, y), strict=True):
        assert_array_equal(theirs, mine)


@every_loss
def test_a_loss_is_a_value(loss: Loss, labels: tuple[float, ...]) -> None:
    twin = replace(loss)  # type: ignore[type-var]
    assert twin == loss
    assert hash(twin) == hash(loss)
    assert eval(repr(loss)) == loss


def test_different_losses_differ() -> None:
    assert len({loss for loss, _ in LOSSES}) == len(LOSSES)


@every_loss
def test_a_loss_cannot_be_changed(loss: Loss, labels: tuple[float, ...]) -> None:
    for field in fields(loss):  # type: ignore[arg-type]
        with pytest.raises(FrozenInstanceError):
            setattr(loss, field.name, getattr(loss, field.name))


@every_loss
def test_the_parameters_have_one_order(loss: Loss, labels: tuple[float, ...]) -> None:
    for has_intercept in (False, True):
        n = 7 * loss.n_outputs + has_intercept * loss.n_outputs + loss.n_own
        layout = loss.layout(7, n)
        assert (layout.size, layout.has_intercept) == (n, has_intercept)
        w = np.arange(float(n))
        parts = layout.coef(w).ravel(), layout.intercept(w), layout.own(w)
        assert_array_equal(np.concatenate(parts), w)
        assert all(np.shares_memory(part, w) for part in parts if part.size)
        assert layout.coef(w).shape == (7, loss.n_outputs)
    for wrong in (0, 7 * loss.n_outputs - 1, 9 * loss.n_outputs + loss.n_own):
        with pytest.raises(ValueError, match=f"got {wrong} with n_features=7"):
            loss.layout(7, wrong)
