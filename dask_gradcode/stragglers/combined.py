"""Several models at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dask_gradcode.stragglers.base import StragglerModel
from dask_gradcode.typing import Vector

__all__ = ["Combined"]


@dataclass(frozen=True)
class Combined(StragglerModel):
    """Several models at once: delays add up, slowdowns multiply.

    Parameters
    ----------
    models : iterable of StragglerModel
        The models.

    Raises
    ------
    TypeError
        If one of them is none.

    Examples
    --------
    >>> from dask_gradcode.stragglers import FixedDelay, Slowdown
    >>> late = Combined([FixedDelay(2.0, workers=[1]), Slowdown(8.0, workers=[1, 2])])
    >>> late.delays(0, 3), late.slowdowns(0, 3)
    (array([0., 2., 0.]), array([1., 8., 8.]))
    """

    models: Iterable[StragglerModel]

    def __post_init__(self) -> None:
        models = tuple(self.models)
        for model in models:
            if not isinstance(model, StragglerModel):
                raise TypeError(f"The 'models' of Combined must be StragglerModels, got {model!r}.")
        object.__setattr__(self, "models", models)

    def delays(self, round: int, n_workers: int) -> Vector:
        total = super().delays(round, n_workers)
        for model in self.models:
            total += model.delays(round, n_workers)
        return total

    def slowdowns(self, round: int, n_workers: int) -> Vector:
        product = super().slowdowns(round, n_workers)
        for model in self.models:
            product *= model.slowdowns(round, n_workers)
        return product
