"""What every loss is: a value and a derivative for each row, to be summed."""

from __future__ import annotations

from abc import ABC, abstractmethod

from dask_gradcode.typing import Vector

__all__ = ["Loss"]


class Loss(ABC):
    """How far a prediction is from its label, row by row.

    The objective *sums* over rows and never averages, because sums add over blocks; the mean and
    the penalty are the client's. A loss is an immutable value: a frozen dataclass of its
    parameters that travels to the workers. Losses with several outputs per row, such as the
    multinomial one, will get their own method when they come.

    To add one, write a file beside this one, list it in ``losses/__init__.py`` and in the contract
    test.
    """

    @abstractmethod
    def pointwise(self, z: Vector, y: Vector) -> tuple[Vector, Vector]:
        """Evaluate the loss of each row and its derivative.

        Called for each chunk of rows, so it is vectorised; safe from overflow for every finite
        ``z``.

        Parameters
        ----------
        z : ndarray of shape (n_rows,)
            The linear predictor, ``X @ coef + intercept``. Not modified.
        y : ndarray of shape (n_rows,)
            The labels. Not modified.

        Returns
        -------
        value : ndarray of shape (n_rows,)
            The loss, new and float64.
        derivative : ndarray of shape (n_rows,)
            Its derivative with respect to ``z``, new and float64.
        """
