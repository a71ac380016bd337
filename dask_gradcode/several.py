"""Several points of one round, and their payloads: in one vector each.

They travel *abreast*: the first parameter of all points, then the second of all, and so on; their
payloads likewise, entry by entry. So what belongs to a column of the features stays together, and a
pass over rows sees one matrix of coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gradcode.payloads import Statistic
from dask_gradcode.typing import Matrix, Vector

__all__ = ["Several", "abreast", "n_points_of"]


@dataclass(frozen=True, slots=True)
class Several(Statistic):
    """What is summed over rows where several points travel abreast.

    Parameters
    ----------
    each : Statistic
        What there is of one point.
    n_points : int
        How many there are.

    Attributes
    ----------
    n_parameters : int
        Of all points together.
    order : {1, 2}
        That of each.

    Examples
    --------
    >>> several = Several(Statistic(n_parameters=2), n_points=3)
    >>> payload = np.arange(float(several.size))
    >>> several.value(payload), several.gradient(payload)
    (array([0., 1., 2.]), array([3., 4., 5., 6., 7., 8.]))
    >>> several.point(payload, 1)
    array([1., 4., 7.])
    """

    n_parameters: int = field(init=False)
    order: int = field(init=False)
    each: Statistic
    n_points: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_parameters", self.each.n_parameters * self.n_points)
        object.__setattr__(self, "order", self.each.order)

    @property
    def size(self) -> int:
        return self.each.size * self.n_points

    def value(self, payload: Vector) -> Vector:
        """Return the view of the values, of shape (n_points,)."""
        return payload[: self.n_points]

    def gradient(self, payload: Vector) -> Vector:
        """Return the view of the gradients, abreast, of shape (n_parameters,)."""
        return payload[self.n_points : self.n_points + self.n_parameters]

    def point(self, payload: Vector, k: int) -> Vector:
        """Return the view of what there is of one point, of shape (each.size,)."""
        return payload[k :: self.n_points]

    def entries(self, parameters: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        """Return where the payload of some parameters, each of all points, lies in that of all."""
        n, is_small = self.n_points, self.size < 2**31
        of_each = self.each.entries(parameters[::n] // n).astype(np.int32 if is_small else np.int64)
        entries: NDArray[np.integer[Any]] = np.add.outer(of_each * n, np.arange(n)).ravel()
        return entries.astype(of_each.dtype, copy=False)


def n_points_of(w: Vector | Matrix) -> int:
    """Return how many points there are.

    Parameters
    ----------
    w : ndarray of shape (n_parameters,) or (n_points, n_parameters)
        The point, or the points.

    Returns
    -------
    int
        One, if there is one dimension.

    Examples
    --------
    >>> n_points_of(np.zeros(2)), n_points_of(np.zeros((3, 2)))
    (1, 3)
    """
    return 1 if w.ndim == 1 else len(w)


def abreast(w: Vector | Matrix) -> Vector:
    """Return points abreast, in one vector; one point alone is returned as it is.

    Parameters
    ----------
    w : ndarray of shape (n_parameters,) or (n_points, n_parameters)
        The point, or the points.

    Returns
    -------
    ndarray of shape (n_points * n_parameters,)
        The first parameter of all points, then the second of all.

    Examples
    --------
    >>> abreast(np.array([[1.0, 2.0], [10.0, 20.0]]))
    array([ 1., 10.,  2., 20.])
    """
    return w if w.ndim == 1 else w.T.ravel()
