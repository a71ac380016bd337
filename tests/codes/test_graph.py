"""Graph repetition: its graphs, what their edges can give, and how much of a sum is missed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dask_gradcode.codes import FractionalRepetition, GradientCode, GraphRepetition
from dask_gradcode.codes.components import Components, edge_weights
from dask_gradcode.rounds import Fastest
from dask_gradcode.simulation import simulate
from dask_gradcode.stragglers import FixedDelay


@st.composite
def graph_codes(draw: st.DrawFn) -> GraphRepetition:
    degree = draw(st.integers(3, 6))
    step = degree if degree % 2 else degree // 2
    least = -(-degree * (degree + 1) // (2 * step))
    n_workers = step * draw(st.integers(least, least + 20))
    return GraphRepetition(n_workers, degree, draw(st.integers(0, 5)))


@given(graph_codes())
@settings(deadline=None)
def test_each_block_is_on_as_many_workers_as_the_degree_says(code: GraphRepetition) -> None:
    edges = [message.blocks for message in code.messages]
    assert len({*edges}) == code.n_workers
    assert all(u < v for u, v in edges)
    count = Counter(block for edge in edges for block in edge)
    assert count == dict.fromkeys(range(code.n_blocks), code.degree)
    assert code.load == pytest.approx(code.degree / code.n_workers)


@given(graph_codes(), st.data())
@settings(deadline=None)
def test_as_many_stragglers_as_it_says_leave_the_sum_exact(
    code: GraphRepetition, data: st.DataObject
) -> None:
    lost = data.draw(st.sets(st.integers(0, code.n_workers - 1), max_size=code.n_stragglers))
    assert code.can_decode(code.available(set(range(code.n_workers)) - lost))


def test_seeds_give_different_graphs_and_the_same_ones_again() -> None:
    graphs = {GraphRepetition(30, 3, seed).messages for seed in range(10)}
    assert len(graphs) == 10
    assert GraphRepetition(30, 3, 4).messages in graphs


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    n = draw(st.integers(1, 12))
    pairs = [(u, v) for u in range(n) for v in range(u + 1, n)]
    return n, draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []


@given(graphs())
def test_weights_of_edges_are_the_best_by_least_squares(
    graph: tuple[int, list[tuple[int, int]]],
) -> None:
    n, edges = graph
    incidence = np.zeros((n, len(edges)))
    components = Components(n)
    for index, edge in enumerate(edges):
        incidence[list(edge), index] = 1.0
        components.join(*edge)
    given_ = incidence @ edge_weights(n, edges)
    best = incidence @ np.linalg.lstsq(incidence, np.ones(n), rcond=None)[0] if edges else given_
    assert_allclose(given_, best, atol=1e-9)
    assert (components.n_short == 0) == bool(abs(best - 1.0).max() < 1e-9)


def mean_error(code: GradientCode, n_late: int, n_sets: int = 1000) -> float:
    rng, everybody = np.random.default_rng(0), set(range(code.n_workers))
    late = [rng.choice(code.n_workers, n_late, replace=False).tolist() for _ in range(n_sets)]
    return float(np.mean([code.decode(code.available(everybody - {*w})).error for w in late]))


@pytest.mark.parametrize("degree", [3, 4])
def test_as_much_is_missed_as_blocks_of_which_nobody_answers(degree: int) -> None:
    """Whoever fits a fifth of the workers in: a block is missed if all of its workers are late."""
    n, n_late = 60, 12
    alone = np.prod([(n_late - i) / (n - i) for i in range(degree)])
    error = mean_error(GraphRepetition(n, degree), n_late)
    assert alone / 2 < error < 2 * alone
    assert error < mean_error(FractionalRepetition(n, 1), n_late) / 4  # with two replicas


def test_the_worst_stragglers_take_less_than_of_groups() -> None:
    """Six may silence two whole groups of three, which are a tenth of 60 blocks."""
    groups, graph = FractionalRepetition(60, 2), GraphRepetition(60, 3)
    assert groups.decode(groups.available(range(6, 60))).error == pytest.approx(0.1)
    around = [
        [i for i, message in enumerate(graph.messages) if {u, v} & {*message.blocks}]
        for u in range(graph.n_blocks)
        for v in range(u)
    ]
    errors = [
        graph.decode(graph.available(set(range(60)) - {*late})).error
        for late in around
        if len(late) <= 6
    ]
    assert max(errors) <= 2 / graph.n_blocks + 1e-12


def test_a_round_says_how_much_it_misses() -> None:
    code = GraphRepetition(12, 3)
    gone = FixedDelay(10.0, workers=range(3))  # who hold block 0
    history = simulate(code, gone, wait=Fastest(9), n_rounds=3)
    assert history.columns["error"] == [0.125, 0.125, 0.125]
    assert history.columns["residual"] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_workers": 10, "degree": 3}, "Use 9 or 12 workers"),
        ({"n_workers": 3, "degree": 3}, "Use 6 or 9 workers"),
        ({"n_workers": 9, "degree": 4}, "Use 10 or 12 workers"),
        ({"n_workers": 12, "degree": 2}, r"in the range \[3, inf\)"),
        ({"n_workers": 12, "degree": 3.0}, "must be an int"),
        ({"n_workers": 12, "degree": 3, "seed": -1}, r"in the range \[0, inf\)"),
    ],
)
def test_what_makes_no_graph_is_refused(arguments: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GraphRepetition(**arguments)
