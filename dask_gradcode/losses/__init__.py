"""What one row contributes to the objective."""

from dask_gradcode.losses.base import Layout, Loss
from dask_gradcode.losses.huber import Huber
from dask_gradcode.losses.logistic import Logistic
from dask_gradcode.losses.multinomial import Multinomial
from dask_gradcode.losses.poisson import Poisson
from dask_gradcode.losses.squared import Squared
from dask_gradcode.losses.squared_hinge import SquaredHinge
from dask_gradcode.losses.tweedie import Tweedie

__all__ = [
    "Huber",
    "Layout",
    "Logistic",
    "Loss",
    "Multinomial",
    "Poisson",
    "Squared",
    "SquaredHinge",
    "Tweedie",
]
