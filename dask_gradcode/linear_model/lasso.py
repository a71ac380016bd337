"""The lasso by coded rounds."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.linear_model import Lasso

from dask_gradcode.linear_model.documentation import documented
from dask_gradcode.linear_model.elastic_net import CodedElasticNet

__all__ = ["CodedLasso"]


@documented
class CodedLasso(CodedElasticNet):
    """The lasso that does not wait for slow, frozen or dead workers.

    Minimises scikit-learn's objective, half the weighted mean of squared errors plus ``alpha *
    ||coef||_1`` with a free intercept, by rounds of gradient coding [1]_: one where features are
    few, otherwise rounds of exact full-batch gradients. Zeros are exact. It is
    :class:`~dask_gradcode.CodedElasticNet` with ``l1_ratio=1``.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, as in scikit-learn.
    positive : bool, default=False
        Whether coefficients must not be negative; for coordinate descent alone.
    <code parameters>
    <solver parameters>
    max_iter : int, default=1000
        Most iterations of the solver: of coordinate descent passes over the coefficients, which
        need no rounds.
    tol : float, default=1e-4
        Coordinate descent stops as scikit-learn's, when the dual gap is at most this share of the
        targets' mean square around their mean. Other solvers stop when the shortest subgradient is
        nowhere larger than this, for columns and targets in units of their own spread.
    <fit parameters>

    Attributes
    ----------
    <attributes of targets>
    solver_ : str or Optimizer
        The solver that was used.
    dual_gap_ : float or ndarray of shape (n_targets,)
        By how much the objective is above its minimum, at most. Without a penalty it is nan.
    <fit attributes>

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017.

    Examples
    --------
    >>> from dask_gradcode import CodedLasso
    >>> model = CodedLasso(alpha=0.1).fit([[0, 0], [1, 1], [2, 2]], [0, 1, 2])
    >>> model.coef_.round(2), round(model.intercept_, 2)
    (array([0.85, 0.  ]), np.float64(0.15))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        name: held
        for name, held in CodedElasticNet._parameter_constraints.items()
        if name != "l1_ratio"
    }

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        positive: bool = False,
        code: Any = "auto",
        n_stragglers: int | None = None,
        n_workers: int | None = None,
        wait: Any = "exact",
        fit_intercept: bool = True,
        solver: Any = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: Any = 0,
        checkpoint: Any = None,
        checkpoint_every: int = 10,
        transport: str = "auto",
        verify: int | str = 0,
        client: Any = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            l1_ratio=1.0,
            positive=positive,
            code=code,
            n_stragglers=n_stragglers,
            n_workers=n_workers,
            wait=wait,
            fit_intercept=fit_intercept,
            solver=solver,
            max_iter=max_iter,
            tol=tol,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            transport=transport,
            verify=verify,
            client=client,
        )

    def to_sklearn(self) -> Lasso:
        """Return a fitted scikit-learn ``Lasso``, for use without Dask."""
        return self._plain(Lasso())
