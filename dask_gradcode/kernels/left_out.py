"""One pass over rows: how far from its target each is predicted by a model of all the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dask_gradcode.kernels.chunks import row_chunks
from dask_gradcode.kernels.gradient import never
from dask_gradcode.kernels.rows import CHUNK_VALUES, chunk_rows, is_sparse
from dask_gradcode.typing import Matrix, Rows, Vector

__all__ = ["RidgeModels", "add_left_out"]


@dataclass(frozen=True, eq=False)
class RidgeModels:
    """Ridge regressions of some rows, one for each strength of the penalty.

    Parameters
    ----------
    onto : ndarray of shape (n_features, n_features + n_models)
        What rows are multiplied by: eigenvectors of the Gram matrix of the columns, which are
        centred where there is an intercept, then the coefficients of each model.
    inverse : ndarray of shape (n_features, n_models)
        One by each eigenvalue and each strength of the penalty.
    mean : ndarray of shape (n_features,)
        Of the columns; zeros without an intercept.
    mean_target : float
        Of the targets; 0 without an intercept.
    share : float
        One by the sum of the rows' weights; 0 without an intercept.

    Examples
    --------
    >>> models = RidgeModels.of(4.0 * np.eye(1), np.ones((1, 2)), np.array([1.0, 4.0]))
    >>> models.onto, models.inverse
    (array([[1., 1., 1.]]), array([[0.2  , 0.125]]))
    """

    onto: Matrix
    inverse: Matrix
    mean: Vector
    mean_target: float = 0.0
    share: float = 0.0

    @classmethod
    def of(
        cls,
        gram: Matrix,
        coef: Matrix,
        alphas: Vector,
        mean: Vector | None = None,
        mean_target: float = 0.0,
        share: float = 0.0,
    ) -> RidgeModels:
        """Return the models that have these coefficients, as columns, and these strengths."""
        values, vectors = _eigen(gram)
        onto = np.ascontiguousarray(np.hstack([vectors, coef]))
        inverse = 1.0 / (values[:, None] + alphas)
        return cls(onto, inverse, np.zeros(len(gram)) if mean is None else mean, mean_target, share)

    @property
    def n_models(self) -> int:
        """How many there are."""
        return len(self.inverse.T)


def _eigen(gram: Matrix) -> tuple[Vector, Matrix]:
    """Return eigenvalues, none of them negative, and eigenvectors of a Gram matrix.

    By singular values of a Cholesky factor, of columns scaled alike: the square roots then have
    their digits, where of a matrix of columns of many scales its small eigenvalues have none.
    """
    sizes = np.sqrt(np.maximum(gram.diagonal(), 0.0))
    sizes = np.where(sizes > 0.0, sizes, 1.0)
    try:
        factor = np.linalg.cholesky(gram / np.outer(sizes, sizes))
    except np.linalg.LinAlgError:  # singular
        values, vectors = np.linalg.eigh(gram)
        return np.maximum(values, 0.0), vectors
    _, roots, transposed = np.linalg.svd(factor.T * sizes)
    return roots * roots, np.ascontiguousarray(transposed.T)


def add_left_out(
    models: RidgeModels,
    X: Rows,
    y: Vector,
    sample_weight: Vector | None,
    coefficient: float,
    total: Vector,
    should_stop: Callable[[], bool] = never,
    run: slice | None = None,
) -> bool:
    """Add multiples of the squared errors of models that were fitted without the row.

    Parameters
    ----------
    models : RidgeModels
        Of all rows, of which these are some.
    X : ndarray or csr_array of shape (n_rows, n_features)
        Dense rows in C order.
    y : ndarray of shape (n_rows,)
        Targets.
    sample_weight : ndarray of shape (n_rows,) or None
        None means one for every row.
    coefficient : float
        The multiple.
    total : ndarray of shape (n_models,)
        The weighted squared errors are added to it in place.
    should_stop : callable, optional
        Asked between chunks of rows.
    run : slice, optional
        Which rows. None: all of them.

    Returns
    -------
    bool
        False if ``should_stop`` said so: ``total`` is then of no use.

    Notes
    -----
    The model without row ``i``, of weight ``s``, misses it by ``r / (1 - h)``, where ``r`` is by
    how much that of all rows does and ``h = s (1 / sum(s) + x' inv(G + alpha I) x)``, with the Gram
    matrix ``G`` and the row ``x`` about the columns' means [1]_.

    References
    ----------
    .. [1] Rifkin and Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025.

    Examples
    --------
    >>> X, y = np.array([[1.0], [2.0]]), np.array([1.0, 4.0])
    >>> coef = np.linalg.solve(X.T @ X + 1.0, X.T @ y)[:, None]
    >>> models = RidgeModels.of(X.T @ X, coef, np.ones(1))
    >>> total = np.zeros(1)
    >>> add_left_out(models, X, y, None, 1.0, total)
    True
    >>> total, (1.0 - 8.0 / 5.0) ** 2 + (4.0 - 2.0 * 1.0 / 2.0) ** 2
    (array([9.36]), 9.36)
    """
    sparse = is_sparse(X)
    n_features, onto, inverse = X.shape[1], models.onto, models.inverse
    step = min(chunk_rows(X), max(CHUNK_VALUES // onto.shape[1], 1))
    for chunk, rows in row_chunks(X, run, step):
        if should_stop():
            return False
        if not sparse:
            rows.centre(models.mean)
        along = rows.times(onto)
        if sparse:  # whose zeros stay zeros
            along -= models.mean @ onto
        residual = (y[chunk] - models.mean_target)[:, None] - along[:, n_features:]
        weight = np.ones(len(along)) if sample_weight is None else sample_weight[chunk]
        leverage = weight[:, None] * (np.square(along[:, :n_features]) @ inverse + models.share)
        with np.errstate(divide="ignore", invalid="ignore"):  # of the only row that counts
            total += coefficient * (weight @ np.square(residual / (1.0 - leverage)))
    return True
