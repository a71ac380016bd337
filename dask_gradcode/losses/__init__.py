"""What one row contributes to the objective."""

from dask_gradcode.losses.base import Loss
from dask_gradcode.losses.logistic import Logistic

__all__ = ["Logistic", "Loss"]
