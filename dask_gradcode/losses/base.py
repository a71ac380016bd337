"""What every loss is: a value and a derivative for each row, to be summed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from dask_gradcode.typing import Matrix, Vector

__all__ = ["Layout", "Loss"]


@dataclass(frozen=True)
class Layout:
    """Where the parameters of a linear model are in the one vector that optimizers see.

    First the coefficients, feature by feature (all outputs of the first feature, then all of the
    second); then an intercept for each output, if there are intercepts; then what the loss has of
    its own. Gradients are in the same order. That is scikit-learn's order, too.

    Parameters
    ----------
    n_features, n_outputs, n_own : int
        Columns of the rows, linear predictors of a row, parameters of the loss itself.
    has_intercept : bool
        Whether there are intercepts.

    Examples
    --------
    >>> import numpy as np
    >>> layout = Layout(n_features=2, n_outputs=3, n_own=0, has_intercept=True)
    >>> w = np.arange(float(layout.size))
    >>> layout.coef(w), layout.intercept(w)
    (array([[0., 1., 2.],
           [3., 4., 5.]]), array([6., 7., 8.]))
    """

    n_features: int
    n_outputs: int
    n_own: int
    has_intercept: bool

    @property
    def n_slopes(self) -> int:
        """Number of coefficients; a penalty acts on these alone."""
        return self.n_features * self.n_outputs

    @property
    def size(self) -> int:
        """Number of all parameters."""
        return self.n_slopes + self.n_outputs * self.has_intercept + self.n_own

    def coef(self, w: Vector) -> Matrix:
        """Return the view of shape (n_features, n_outputs) of the coefficients."""
        return w[: self.n_slopes].reshape(self.n_features, self.n_outputs)

    def intercept(self, w: Vector) -> Vector:
        """Return the view of the intercepts, (n_outputs,), or (0,) if there are none."""
        return w[self.n_slopes : self.size - self.n_own]

    def own(self, w: Vector) -> Vector:
        """Return the view of the loss's own parameters, (n_own,)."""
        return w[self.size - self.n_own :]


class Loss(ABC):
    """How far a prediction is from its target, row by row.

    The objective *sums* over rows and never averages, because sums add over blocks; the mean and
    the penalty are the client's. A loss is an immutable value: a frozen dataclass of its
    parameters that travels to the workers.

    To add one, write a file beside this one, list it in ``losses/__init__.py`` and in the contract
    test.

    Attributes
    ----------
    n_own : int
        How many parameters are fitted beside the linear model's, such as a scale. Each is a further
        column of ``z``, of the same value in all rows.
    has_curvature : bool
        Whether ``curvature`` is there.
    only_differences : bool
        Whether only differences of linear predictors count: the same added to all changes nothing.

    Examples
    --------
    Absolute errors, smoothed around zero:

    >>> import numpy as np
    >>> class Smooth(Loss):
    ...     def pointwise(self, z, y):
    ...         root = np.hypot(z - y, 1.0)
    ...         return root - 1.0, (z - y) / root
    >>> value, derivative = Smooth().pointwise(np.array([3.0]), np.array([3.0]))
    >>> value, derivative
    (array([0.]), array([0.]))
    """

    n_own: ClassVar[int] = 0
    has_curvature: ClassVar[bool] = False
    only_differences: ClassVar[bool] = False

    @property
    def n_outputs(self) -> int:
        """How many linear predictors a row has, such as one for each class."""
        return 1

    @abstractmethod
    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        """Evaluate the loss of each row and its derivative.

        Called for each chunk of rows, so it is vectorised; safe from overflow for every ``z`` of up
        to 1e100, because an optimizer may try such steps.

        Parameters
        ----------
        z : ndarray of shape (n_rows,) or (n_rows, n_outputs + n_own)
            The linear predictors, ``X @ coef + intercept``, then the loss's own parameters; 1-D
            where that is one column. Not modified.
        y : ndarray of shape (n_rows,)
            The targets. Not modified.

        Returns
        -------
        value : ndarray of shape (n_rows,)
            The loss, new and float64.
        derivative : ndarray of the shape of z
            Its derivative with respect to ``z``, new and float64.
        """

    def curvature(self, z: Vector, y: Vector) -> Vector:
        """Return the second derivatives of each row's loss, for ``solver="newton-cholesky"``.

        Vectorised and as safe from overflow as ``pointwise``.

        Parameters
        ----------
        z : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            The linear predictors. Not modified.
        y : ndarray of shape (n_rows,)
            The targets. Not modified.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_outputs, n_outputs)
            Of one linear predictor a number that is never negative, of several a positive
            semi-definite matrix; new and float64.
        """
        raise NotImplementedError(f"{self!r} has no second derivatives.")

    def layout(self, n_features: int, size: int) -> Layout:
        """Return where the parts of a parameter vector of this size are.

        Parameters
        ----------
        n_features : int
            Columns of the rows.
        size : int
            Length of the parameter vector, which tells whether there are intercepts.

        Returns
        -------
        Layout
            With or without intercepts.

        Raises
        ------
        ValueError
            If no model of this loss has so many parameters.
        """
        for has_intercept in (True, False):
            layout = Layout(n_features, self.n_outputs, self.n_own, has_intercept)
            if layout.size == size:
                return layout
        more = self.n_outputs if self.n_outputs > 1 else "one"
        raise ValueError(
            f"w must have {layout.size} entries (n_features * n_outputs{' + 1' * self.n_own}), "
            f"or {more} more for an intercept; got {size} with n_features={n_features}."
        )
