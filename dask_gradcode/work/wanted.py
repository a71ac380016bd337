"""What of a work a round wants: derivatives of some order, at one point or several."""

from __future__ import annotations

from dask_gradcode.work.base import SecondOrderWork, Work
from dask_gradcode.work.points import InTurn, ManyPointsWork

__all__ = ["of_order"]


def of_order(work: Work, order: int, n_points: int = 1) -> Work:
    """Return what is to be computed in a round.

    Parameters
    ----------
    work : Work
        Of the fit.
    order : {1, 2}
        Up to which order derivatives are wanted: 2 is value, gradient and Hessian.
    n_points : int, default=1
        At how many points, which travel abreast.

    Returns
    -------
    Work
        The first order at one point is the work itself. Several points are done in one pass over
        the rows where the work knows how to, otherwise one after the other.

    Raises
    ------
    TypeError
        If there are no derivatives of that order.
    ValueError
        If there is no point.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gradcode.losses import Squared
    >>> from dask_gradcode.work import as_work
    >>> of_order(as_work(Squared()), 2).statistic(np.zeros(3)).size
    10
    >>> of_order(as_work(Squared()), 1, n_points=5).statistic(np.zeros(15)).size
    20
    """
    if n_points < 1:
        raise ValueError(f"A round is of at least one point, got n_points={n_points}.")
    if order == 2 and isinstance(work, SecondOrderWork):
        work = work.with_hessian()
    elif order != 1:
        raise TypeError(
            f"{work!r} has no derivatives of order {order}; solver='newton-cholesky' needs those "
            "of order 2. Use solver='lbfgs'."
        )
    if n_points == 1:
        return work
    if isinstance(work, ManyPointsWork):
        return work.at_points(n_points)
    return InTurn(work, n_points)
