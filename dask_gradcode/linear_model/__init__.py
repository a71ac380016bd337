"""Estimators in scikit-learn's style."""

from dask_gradcode.linear_model.huber import CodedHuberRegressor
from dask_gradcode.linear_model.logistic import CodedLogisticRegression
from dask_gradcode.linear_model.poisson import CodedPoissonRegressor
from dask_gradcode.linear_model.ridge import CodedRidge

__all__ = [
    "CodedHuberRegressor",
    "CodedLogisticRegression",
    "CodedPoissonRegressor",
    "CodedRidge",
]
