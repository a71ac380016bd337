"""Estimators in scikit-learn's style."""

from dask_gradcode.linear_model.logistic import CodedLogisticRegression

__all__ = ["CodedLogisticRegression"]
