"""Exact full-batch training on Dask that does not wait for slow, frozen or dead workers.

Names are loaded when they are first used (PEP 562), so that ``import dask_gradcode.codes`` loads
neither Dask nor scikit-learn.
"""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dask_gradcode.deferred import deferred

if TYPE_CHECKING:
    from dask_gradcode.cluster import estimate, place
    from dask_gradcode.linear_model import (
        CodedElasticNet,
        CodedGammaRegressor,
        CodedHuberRegressor,
        CodedLasso,
        CodedLinearRegression,
        CodedLinearSVC,
        CodedLogisticRegression,
        CodedLogisticRegressionCV,
        CodedPoissonRegressor,
        CodedRidge,
        CodedRidgeCV,
        CodedTweedieRegressor,
    )
    from dask_gradcode.rounds import InsufficientWorkersError

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
    "InsufficientWorkersError",
    "estimate",
    "place",
]

# Python prints warnings of loggers without a handler; whether to show ours is the user's choice.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_deferred, __dir__ = deferred(
    __name__,
    {
        "CodedElasticNet": "dask_gradcode.linear_model",
        "CodedGammaRegressor": "dask_gradcode.linear_model",
        "CodedHuberRegressor": "dask_gradcode.linear_model",
        "CodedLasso": "dask_gradcode.linear_model",
        "CodedLinearRegression": "dask_gradcode.linear_model",
        "CodedLinearSVC": "dask_gradcode.linear_model",
        "CodedLogisticRegression": "dask_gradcode.linear_model",
        "CodedLogisticRegressionCV": "dask_gradcode.linear_model",
        "CodedPoissonRegressor": "dask_gradcode.linear_model",
        "CodedRidge": "dask_gradcode.linear_model",
        "CodedRidgeCV": "dask_gradcode.linear_model",
        "CodedTweedieRegressor": "dask_gradcode.linear_model",
        "InsufficientWorkersError": "dask_gradcode.rounds",
        "estimate": "dask_gradcode.cluster",
        "place": "dask_gradcode.cluster",
    },
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("dask-gradcode")
    return _deferred(name)
