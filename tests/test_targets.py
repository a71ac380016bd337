"""Targets described chunk by chunk are those of the whole."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.multiclass import type_of_target

from dask_gradcode.targets import MANY_LABELS, TargetFacts, Targets, describe_targets

LABELS: dict[str, tuple[list[Any], Any]] = {
    "ints": ([-3, 0, 1, 2**40], np.int64),
    "small ints": ([0, 1, 255], np.uint8),
    "bools": ([False, True], np.bool_),
    "whole floats": ([-1.0, 0.0, 1.0, 1e9], np.float64),
    "float32": ([-1.0, 1.0], np.float32),
    "strings": (["", "a", "ab", "é", "no"], np.str_),
    "objects": (["yes", "no", "perhaps"], object),
}


@st.composite
def targets(draw: st.DrawFn) -> Any:
    values, dtype = LABELS[draw(st.sampled_from([*LABELS]))]
    return np.array(draw(st.lists(st.sampled_from(values), min_size=1, max_size=20)), dtype)


def pieces(data: st.DataObject, n_rows: int) -> list[slice]:
    """Cut the rows anywhere; pieces may be empty."""
    cuts = data.draw(st.lists(st.integers(0, n_rows), max_size=5).map(sorted))
    return [slice(*pair) for pair in pairwise([0, *cuts, n_rows])]


def weights_of(data: st.DataObject, y: Any) -> list[int]:
    """Whole numbers, whose sums are exact in any order."""
    return data.draw(st.lists(st.integers(1, 9), min_size=len(y), max_size=len(y)))


def assert_same(merged: Targets, whole: TargetFacts) -> None:
    assert merged.kind == whole.kind
    assert_array_equal(merged.labels, whole.labels)
    assert merged.labels.dtype.kind == whole.labels.dtype.kind
    assert_array_equal(merged.counts, whole.counts)
    assert_array_equal(merged.weights, whole.weights)
    assert merged.weight == whole.weight


@given(y=targets(), data=st.data())
def test_chunks_put_together_are_the_whole(y: Any, data: st.DataObject) -> None:
    parts = pieces(data, len(y))
    merged = Targets.merge([describe_targets(y[part], None, "me") for part in parts])
    assert_same(merged, describe_targets(y, None, "me"))


@given(y=targets(), data=st.data())
def test_weighted_chunks_put_together_are_the_whole(y: Any, data: st.DataObject) -> None:
    weight = weights_of(data, y)
    parts = [part for part in pieces(data, len(y)) if part.start < part.stop]
    merged = Targets.merge([describe_targets(y[part], weight[part], "me") for part in parts])
    assert_same(merged, describe_targets(y, weight, "me"))


@given(y=targets(), data=st.data())
def test_a_whole_is_described_by_its_labels_counts_and_weights(y: Any, data: st.DataObject) -> None:
    weight = weights_of(data, y)
    facts = describe_targets(y, weight, "me")
    expected = sorted(set(y.tolist()))
    assert facts.labels.tolist() == expected
    assert facts.labels.dtype == y.dtype
    assert facts.counts.tolist() == [y.tolist().count(label) for label in expected]
    assert facts.weights.tolist() == [
        sum(w for w, label in zip(weight, y.tolist(), strict=True) if label == wanted)
        for wanted in expected
    ]
    assert (facts.n_rows, facts.weight) == (len(y), sum(weight))
    assert facts.kind == type_of_target(y) == ("binary" if len(expected) <= 2 else "multiclass")


@given(
    y=st.lists(st.integers(-40, 40).map(lambda i: i / 4), min_size=1, max_size=12), data=st.data()
)
@example(y=[0.0, 1.0, 0.5], data=None)
def test_one_fraction_anywhere_makes_all_targets_continuous(
    y: list[float], data: st.DataObject | None
) -> None:
    parts = [slice(0, 2), slice(2, 3)] if data is None else pieces(data, len(y))
    merged = Targets.merge([describe_targets(y[part], None, "me") for part in parts])
    whole = describe_targets(y, None, "me")
    assert merged.kind == whole.kind
    assert (whole.kind == "continuous") == any(value % 1 for value in y)
    assert (merged.labels is None) == (whole.labels is None) == (whole.kind == "continuous")
    assert merged.weight == len(y)


def test_a_single_label_is_binary() -> None:
    merged = Targets.merge([describe_targets(["a"], None, "me")] * 3)
    assert (merged.kind, merged.labels.tolist(), merged.counts.tolist()) == ("binary", ["a"], [3])


def test_two_labels_that_never_meet_in_a_chunk_are_binary_and_three_are_not() -> None:
    one, two, three = (describe_targets([label], None, "me") for label in (1, 2, 3))
    assert Targets.merge([one, two]).kind == "binary"
    assert Targets.merge([one, two, three]).kind == "multiclass"


def test_strings_of_different_lengths_keep_every_letter() -> None:
    chunks = [describe_targets(np.array(y), None, "me") for y in (["b"], ["aardvark", "b"])]
    assert Targets.merge(chunks).labels.tolist() == ["aardvark", "b"]


@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")
@pytest.mark.parametrize(
    ("n_labels", "kind"), [(MANY_LABELS, "multiclass"), (10_001, "many-valued")]
)
def test_too_many_labels_are_not_collected(n_labels: int, kind: str) -> None:
    facts = describe_targets(np.arange(n_labels), None, "me")
    assert (facts.kind, facts.labels is None) == (kind, n_labels > MANY_LABELS)
    merged = Targets.merge([describe_targets([0, 1], [2.0, 3.0], "me"), facts])
    assert (merged.kind, merged.labels is None) == (kind, n_labels > MANY_LABELS)
    assert merged.weight == n_labels + 5.0


def test_objects_that_are_not_strings_are_of_unknown_kind() -> None:
    facts = describe_targets(np.array([0, 1], dtype=object), None, "me")
    assert (facts.kind, facts.labels, facts.n_rows) == ("unknown", None, 2)


def test_no_rows_are_empty_and_do_not_count() -> None:
    empty = describe_targets([], None, "me")
    assert (empty.kind, empty.n_rows, empty.weight) == ("empty", 0, 0.0)
    some = describe_targets(["b", "a"], None, "me")
    assert_same(Targets.merge([empty, some, empty]), some)


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 2)], ids=["empty", "of no weight"])
def test_weighted_chunks_may_be_empty_or_of_no_weight(cut: slice) -> None:
    y, weight = np.array([1, 0, 1, 2]), np.array([0.0, 0.0, 3.0, 4.0])
    parts = [cut, slice(cut.stop, 4)]
    merged = Targets.merge([describe_targets(y[part], weight[part], "me") for part in parts])
    assert_same(merged, describe_targets(y, weight, "me"))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("bad", "text"), [(np.nan, "contains NaN"), (-np.inf, "infinity")])
def test_targets_that_are_not_finite_are_refused(bad: float, text: str, dtype: type) -> None:
    with pytest.raises(ValueError, match=f"Input y contains.*{text.removeprefix('contains ')}"):
        describe_targets(np.array([0.0, bad, 1.0], dtype), None, "me")


@pytest.mark.parametrize(
    ("weight", "text"),
    [
        ([1.0, -1.0], "Negative values"),
        ([1.0, np.nan], "contains NaN"),
        ([1.0, np.inf], "infinity"),
        ([1.0], r"shape == \(1,\), expected \(2,\)"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weight: list[float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        describe_targets([0, 1], weight, "me")


def test_one_weight_may_stand_for_all_rows() -> None:
    facts = describe_targets(["a", "b", "a"], 2.0, "me")
    assert (facts.weights.tolist(), facts.weight) == ([4.0, 2.0], 6.0)


def test_targets_have_one_column() -> None:
    assert describe_targets(np.array([[1], [0]]), None, "me").counts.tolist() == [1, 1]
    with pytest.raises(ValueError, match="y should be a 1d array"):
        describe_targets(np.zeros((2, 2)), None, "me")


@given(y=targets())
def test_encoded_targets_are_numbers_that_name_their_labels(y: Any) -> None:
    merged = Targets.merge([describe_targets(y, None, "me")])
    numbers = merged.encode(y)
    assert numbers.dtype == np.float64
    if y.dtype.kind in "biuf":
        assert merged.encoded is None
        assert_allclose(numbers, y.astype(float), rtol=0)
    else:
        assert_array_equal(merged.encoded, merged.labels)
        assert_array_equal(merged.labels[numbers.astype(int)], y)


def test_continuous_targets_are_held_as_they_are() -> None:
    merged = Targets.merge([describe_targets([0.5, 1.0], None, "me")])
    assert merged.encoded is None
    assert_array_equal(merged.encode(np.array([0.5, 1.0], np.float32)), [0.5, 1.0])


def test_labels_are_strings_or_numbers_but_not_both() -> None:
    chunks = [describe_targets(y, None, "me") for y in (["a", "b"], [0, 1])]
    with pytest.raises(ValueError, match=r"Mix of label input types \(string and number\)"):
        Targets.merge(chunks)
