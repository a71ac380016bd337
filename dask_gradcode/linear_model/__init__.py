"""Estimators in scikit-learn's style.

Names are loaded when they are first used: a worker that predicts needs no scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask_gradcode.deferred import deferred

if TYPE_CHECKING:
    from dask_gradcode.linear_model.elastic_net import CodedElasticNet
    from dask_gradcode.linear_model.gamma import CodedGammaRegressor
    from dask_gradcode.linear_model.huber import CodedHuberRegressor
    from dask_gradcode.linear_model.lasso import CodedLasso
    from dask_gradcode.linear_model.linear import CodedLinearRegression
    from dask_gradcode.linear_model.linear_svc import CodedLinearSVC
    from dask_gradcode.linear_model.logistic import CodedLogisticRegression
    from dask_gradcode.linear_model.logistic_cv import CodedLogisticRegressionCV
    from dask_gradcode.linear_model.poisson import CodedPoissonRegressor
    from dask_gradcode.linear_model.ridge import CodedRidge
    from dask_gradcode.linear_model.ridge_cv import CodedRidgeCV
    from dask_gradcode.linear_model.tweedie import CodedTweedieRegressor

__all__ = [
    "CodedElasticNet",
    "CodedGammaRegressor",
    "CodedHuberRegressor",
    "CodedLasso",
    "CodedLinearRegression",
    "CodedLinearSVC",
    "CodedLogisticRegression",
    "CodedLogisticRegressionCV",
    "CodedPoissonRegressor",
    "CodedRidge",
    "CodedRidgeCV",
    "CodedTweedieRegressor",
]

__getattr__, __dir__ = deferred(
    __name__,
    {
        "CodedElasticNet": "dask_gradcode.linear_model.elastic_net",
        "CodedGammaRegressor": "dask_gradcode.linear_model.gamma",
        "CodedHuberRegressor": "dask_gradcode.linear_model.huber",
        "CodedLasso": "dask_gradcode.linear_model.lasso",
        "CodedLinearRegression": "dask_gradcode.linear_model.linear",
        "CodedLinearSVC": "dask_gradcode.linear_model.linear_svc",
        "CodedLogisticRegression": "dask_gradcode.linear_model.logistic",
        "CodedLogisticRegressionCV": "dask_gradcode.linear_model.logistic_cv",
        "CodedPoissonRegressor": "dask_gradcode.linear_model.poisson",
        "CodedRidge": "dask_gradcode.linear_model.ridge",
        "CodedRidgeCV": "dask_gradcode.linear_model.ridge_cv",
        "CodedTweedieRegressor": "dask_gradcode.linear_model.tweedie",
    },
)
