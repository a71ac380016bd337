"""What every loss promises. A new loss is one line in ``LOSSES``."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import dask_gradcode.losses
from dask_gradcode.losses import Logistic, Loss
from dask_gradcode.typing import Vector

LOSSES: list[tuple[Loss, tuple[float, ...]]] = [  # and labels it is given
    (Logistic(), (0.0, 1.0)),
    (Logistic(positive=-3.0), (-3.0, 2.0, 7.0)),
    (Logistic(class_weight=(0.25, 3.0)), (0.0, 1.0)),
    (Logistic(class_weight=(0.0, 1.0)), (0.0, 1.0)),
]
every_loss = pytest.mark.parametrize(("loss", "labels"), LOSSES, ids=repr)


def rows(labels: tuple[float, ...], *predictors: float) -> tuple[Vector, Vector]:
    """Every predictor with every label."""
    z, y = np.meshgrid(np.array(predictors), np.array(labels))
    return z.ravel(), y.ravel()


def moderate(labels: tuple[float, ...]) -> tuple[Vector, Vector]:
    return rows(labels, *np.linspace(-30.0, 30.0, 241))


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
    z, y = moderate(labels)
    h = 1e-5
    slope = (loss.pointwise(z + h, y)[0] - loss.pointwise(z - h, y)[0]) / (2 * h)
    assert_allclose(loss.pointwise(z, y)[1], slope, rtol=1e-8, atol=1e-8)


@every_loss
def test_the_loss_is_convex_in_the_predictor(loss: Loss, labels: tuple[float, ...]) -> None:
    z = np.sort(np.random.default_rng(0).normal(scale=20.0, size=500))
    for label in labels:
        _, derivative = loss.pointwise(z, np.full(z.size, label))
        assert (np.diff(derivative) >= -1e-15).all()


@every_loss
def test_the_loss_is_never_negative(loss: Loss, labels: tuple[float, ...]) -> None:
    assert (loss.pointwise(*moderate(labels))[0] >= 0.0).all()


@every_loss
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_the_arrays_are_new_and_float64(
    loss: Loss, labels: tuple[float, ...], dtype: type[np.generic]
) -> None:
    z, y = (array.astype(dtype) for array in moderate(labels))
    value, derivative = loss.pointwise(z, y)
    for array in (value, derivative):
        assert (array.dtype, array.shape) == (np.float64, z.shape)
        assert not any(np.shares_memory(array, other) for other in (z, y))
        assert array.flags.writeable
    assert not np.shares_memory(value, derivative)


@every_loss
def test_the_inputs_are_not_modified(loss: Loss, labels: tuple[float, ...]) -> None:
    z, y = moderate(labels)
    before = z.copy(), y.copy()
    z.flags.writeable = y.flags.writeable = False
    loss.pointwise(z, y)
    assert_array_equal(z, before[0])
    assert_array_equal(y, before[1])


@every_loss
def test_each_row_stands_alone(loss: Loss, labels: tuple[float, ...]) -> None:
    z, y = moderate(labels)
    whole = loss.pointwise(z, y)
    parts = [loss.pointwise(z[i : i + 1], y[i : i + 1]) for i in range(z.size)]
    for column in (0, 1):
        alone = np.concatenate([part[column] for part in parts])
        assert_allclose(alone, whole[column], rtol=1e-15)  # exp may differ by a bit with its length


@every_loss
def test_no_rows_are_no_losses(loss: Loss, labels: tuple[float, ...]) -> None:
    value, derivative = loss.pointwise(np.empty(0), np.empty(0))
    assert (value.shape, derivative.shape) == ((0,), (0,))


@every_loss
def test_huge_predictors_do_not_overflow(loss: Loss, labels: tuple[float, ...]) -> None:
    z, y = rows(labels, -1e300, -1e4, -800.0, -0.0, 0.0, 800.0, 1e4, 1e300)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, derivative = loss.pointwise(z, y)
    assert np.isfinite(value).all()
    assert np.isfinite(derivative).all()


@every_loss
def test_a_pickled_loss_is_the_same_loss(loss: Loss, labels: tuple[float, ...]) -> None:
    twin = pickle.loads(pickle.dumps(loss))
    assert twin == loss
    z, y = moderate(labels)
    assert_array_equal(twin.pointwise(z, y), loss.pointwise(z, y))


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
