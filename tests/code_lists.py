"""The codes that tests try: a new code is some lines in ``EVERY``, and one in ``FEW``."""

from __future__ import annotations

from dask_gradcode.codes import (
    CooperativeRepetition,
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
    GraphRepetition,
    PartialStragglers,
    SlicedDesign,
    SlicedGraph,
    SlicedRepetition,
    Uncoded,
)
from helpers import OwnThenNext

__all__ = ["EVERY", "FEW", "LARGER", "OF_FOUR"]

# for what every code promises: with all its corners
EVERY: list[GradientCode] = [
    Uncoded(1),
    Uncoded(4),
    FractionalRepetition(1, 0),
    FractionalRepetition(4, 0),
    FractionalRepetition(6, 1),
    FractionalRepetition(9, 2),
    FractionalRepetition(8, 3),
    FractionalRepetition(5, 4),
    CyclicRepetition(1, 0),
    CyclicRepetition(4, 0),
    CyclicRepetition(2, 1),
    CyclicRepetition(7, 1),
    CyclicRepetition(8, 2),
    CyclicRepetition(10, 3),
    CyclicRepetition(10, 3, seed=7),
    CyclicRepetition(5, 4),
    PartialStragglers(FractionalRepetition(4, 0), 1),
    PartialStragglers(FractionalRepetition(6, 1), 2),
    PartialStragglers(FractionalRepetition(9, 2), 1),
    PartialStragglers(CyclicRepetition(7, 1), 3),
    PartialStragglers(CyclicRepetition(8, 2), 2),
    PartialStragglers(CyclicRepetition(6, 3, seed=7), 1),
    DeclusteredRepetition(1, 0, n_leaves=1),
    DeclusteredRepetition(2, 1, n_leaves=2),
    DeclusteredRepetition(4, 0, n_leaves=2),
    DeclusteredRepetition(4, 1, spread=1, n_leaves=2),
    DeclusteredRepetition(5, 2, spread=4, n_leaves=4),
    DeclusteredRepetition(6, 1),
    DeclusteredRepetition(6, 2, spread="group", n_leaves=2),
    DeclusteredRepetition(7, 3, spread=2, n_leaves=4),
    GraphRepetition(6, 3),
    GraphRepetition(9, 3, seed=1),
    GraphRepetition(12, 3),
    GraphRepetition(12, 4),
    CooperativeRepetition(1, 0, 1),
    CooperativeRepetition(4, 0),
    CooperativeRepetition(5, 2, 1),
    CooperativeRepetition(6, 3, seed=1),
    CooperativeRepetition(4, 2, 3, complete_only=True),
    SlicedRepetition(3, 0),
    SlicedRepetition(4, 1),
    SlicedRepetition(6, 2),
    SlicedRepetition(5, 4),
    SlicedRepetition(2, 0, n_slices=2),
    SlicedRepetition(8, 2, n_slices=2),
    SlicedRepetition(5, 2, n_slices=3),
    SlicedGraph(8, 4, 2),
    SlicedGraph(12, 6, 3, seed=1),
    SlicedGraph(6, 2, 2),
    SlicedDesign(3, (0, 1)),
    SlicedDesign.plane(2),
    SlicedDesign.plane(3, seed=1),
    SlicedDesign.squares(11),
    SlicedDesign.squares(13),
]

# for what is made of codes
FEW: list[GradientCode] = [
    Uncoded(1),
    Uncoded(4),
    FractionalRepetition(4, 1),
    FractionalRepetition(6, 2),
    CyclicRepetition(5, 2),
    PartialStragglers(FractionalRepetition(6, 2), 2),
    PartialStragglers(CyclicRepetition(4, 1), 1),
    OwnThenNext(4),
    DeclusteredRepetition(4, 1, spread=2, n_leaves=2),
    DeclusteredRepetition(3, 1, n_leaves=4),
    GraphRepetition(6, 3),
    SlicedRepetition(6, 2),
    SlicedRepetition(6, 1, n_slices=2),
    SlicedGraph(6, 2, 2),
]

# four messages each, for all their orders
OF_FOUR: list[GradientCode] = [
    Uncoded(4),
    FractionalRepetition(4, 0),
    FractionalRepetition(4, 1),
    FractionalRepetition(4, 3),
    CyclicRepetition(4, 1),
    CyclicRepetition(4, 2),
    CyclicRepetition(4, 3),
]

# for some of their orders
LARGER: list[GradientCode] = [
    FractionalRepetition(12, 2),
    CyclicRepetition(11, 3),
    OwnThenNext(5),
    DeclusteredRepetition(5, 2, n_leaves=4),
    SlicedRepetition(8, 3),
]
