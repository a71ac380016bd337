"""scikit-learn's coordinate descent by a Gram matrix, and the strengths of a path."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.linear_model import enet_path

from dask_gradcode.linear_model.quadratic import Quadratic
from dask_gradcode.typing import Matrix, Vector

__all__ = ["check_grid", "descend", "dual_gap", "grid", "to_explain"]


def descend(
    slopes: Quadratic,
    strengths: Sequence[float] | Vector,
    *,
    start: Vector | None = None,
    l1_ratio: float = 1.0,
    max_iter: int,
    tol: float,
    positive: bool = False,
) -> tuple[Matrix, Vector, list[int]]:
    """Run scikit-learn's coordinate descent, for one strength of the penalty after another.

    Parameters
    ----------
    slopes : Quadratic
        Half the squared residuals, as a function of coefficients.
    strengths : sequence of float
        What the penalty is multiplied by, the largest first; each begins where the one before it
        has ended.
    start : ndarray of shape (n_features,), optional
        Where the first begins.
    l1_ratio : float, default=1.0
        Which share of the penalty is the sum of absolute values; the rest is half the sum of
        squares.
    max_iter : int
        Most passes over the coefficients.
    tol : float
        Stop when the dual gap is at most this, times the sum of squares that there is to explain.
    positive : bool, default=False
        Whether coefficients must not be negative.

    Returns
    -------
    coefs : ndarray of shape (n_features, n_strengths)
        Coefficients.
    dual_gaps : ndarray of shape (n_strengths,)
        By how much each objective is above its minimum, at most.
    n_iters : list of int
        Passes over the coefficients.

    Examples
    --------
    >>> slopes = Quadratic(np.zeros(2), 5.0, np.array([-3.0, -0.5]), np.eye(2))
    >>> descend(slopes, [2.0, 1.0], max_iter=10, tol=1e-4)[0]
    array([[1., 2.],
           [0., 0.]])
    """
    # One row stands for all: beside Gram matrix and products scikit-learn's function needs the
    # number of rows, which it divides by, and the targets' sum of squares.
    n = slopes.at.size
    products = slopes.hessian @ slopes.at - slopes.gradient
    _, coefs, gaps, n_iters = enet_path(
        np.zeros((1, n), order="F"),
        np.sqrt([to_explain(slopes)]),
        alphas=strengths,
        l1_ratio=l1_ratio,
        precompute=np.ascontiguousarray(slopes.hessian),
        Xy=products,
        coef_init=start,
        return_n_iter=True,
        positive=positive,
        check_input=False,
        max_iter=max_iter,
        tol=tol,
    )
    return coefs, gaps, [int(n_iter) for n_iter in n_iters]


def to_explain(slopes: Quadratic) -> float:
    """Return the sum of squares that coefficients have to explain.

    Parameters
    ----------
    slopes : Quadratic
        Half the squared residuals, as a function of coefficients.
    """
    return max(2.0 * slopes(np.zeros(slopes.at.size)).value, 0.0)


def dual_gap(
    slopes: Vector, value: float, gradient: Vector, strengths: Vector, *, positive: bool = False
) -> float:
    """Return by how much half the squared residuals and an L1 penalty are above their minimum.

    At most: the residuals, times what makes them a point of the dual problem, tell it.

    Parameters
    ----------
    slopes : ndarray of shape (n_features,)
        Where.
    value : float
        Half the squared residuals there.
    gradient : ndarray of shape (n_features,)
        Their gradient.
    strengths : ndarray of shape (n_features,)
        Of the penalty, for each slope, above 0.
    positive : bool, default=False
        Whether slopes must not be negative.

    Examples
    --------
    Of ``(w - 3)^2 / 2 + |w|``, which is 2.5 at 2, where it is least, and 3 at 1:

    >>> one = np.ones(1)
    >>> dual_gap(2 * one, 0.5, -1 * one, one), dual_gap(one, 2.0, -2 * one, one)
    (0.0, 0.5)
    """
    away = -gradient if positive else np.abs(gradient)
    share = 1.0 / max(1.0, float((away / strengths).max()))
    squares = 2.0 * value
    dual = share * (squares - gradient @ slopes) - 0.5 * share**2 * squares
    return float(value + strengths @ np.abs(slopes) - dual)


def check_grid(alphas: Any, eps: float, l1_ratio: float) -> None:
    """Raise ValueError for strengths that no path can have.

    Parameters
    ----------
    alphas : int or array-like
        Strengths, or how many.
    eps : float
        The smallest, as a share of the largest.
    l1_ratio : float
        Share of the L1 penalty.

    Examples
    --------
    >>> check_grid(100, 1e-3, 0.5)
    """
    if not isinstance(alphas, Integral):
        given = np.asarray(alphas, dtype=np.float64)
        if given.ndim != 1 or not given.size or not (given >= 0.0).all():
            raise ValueError(f"alphas must be an int or a list of numbers >= 0, got {alphas!r}.")
    elif alphas < 1 or not eps > 0.0:
        raise ValueError(f"alphas={alphas} must be at least 1, and eps={eps} above 0.")
    elif l1_ratio == 0:
        raise ValueError(
            "Automatic alpha grid generation is not supported for l1_ratio=0. Please supply a "
            "grid with the appropriate `alphas=` argument."
        )


def grid(
    slopes: Quadratic, n_alphas: int, eps: float, l1_ratio: float, *, positive: bool = False
) -> Vector:
    """Return strengths of a path, the first of which leaves no coefficient.

    Parameters
    ----------
    slopes : Quadratic
        Half the squared residuals, as a function of coefficients.
    n_alphas : int
        How many.
    eps : float
        The last, as a share of the first.
    l1_ratio : float
        Share of the L1 penalty, above 0.
    positive : bool, default=False
        Whether coefficients must not be negative.

    Examples
    --------
    >>> slopes = Quadratic(np.zeros(2), 5.0, np.array([-3.0, -0.5]), np.eye(2))
    >>> grid(slopes, 3, 0.01, 1.0)
    array([3.  , 0.3 , 0.03])
    """
    products = -slopes(np.zeros(slopes.at.size)).gradient
    along = products if positive else np.abs(products)
    largest = max(float(along.max()) / l1_ratio, float(np.finfo(float).resolution))
    found: Vector = np.geomspace(largest, largest * eps, num=n_alphas)
    return found
