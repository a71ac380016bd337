"""What the dashboard shows of a fit: tasks by readable names, and a span for each fit."""

from __future__ import annotations

from typing import Any

import dask.array as da
import pytest
from dask.utils import key_split
from distributed import Client

from dask_gradcode import CodedLogisticRegression, place
from dask_gradcode.cluster.client.keys import task_key
from dask_gradcode.codes import FractionalRepetition
from helpers import logistic_data

pytestmark = pytest.mark.cluster

X, Y = logistic_data(97, 3)
PAIRS = FractionalRepetition(4, 1)
EVERY_FIT = {"gradcode-inspect", "gradcode-shard", "gradcode-look"}


def prefixes(client: Client) -> set[str]:
    """Return the names of tasks that the scheduler has ever seen."""
    return set(client.run_on_scheduler(lambda dask_scheduler: [*dask_scheduler.task_prefixes]))


def spans(client: Client) -> dict[str, tuple[tuple[str, ...], set[str]]]:
    """Return name, and names of the tasks, of each span, by id."""

    def look(dask_scheduler: Any) -> Any:
        found = dask_scheduler.extensions["spans"].spans
        return {
            key: (span.name, [group.prefix.name for group in span.groups])
            for key, span in found.items()
        }

    return {
        key: (tuple(name), set(names))
        for key, (name, names) in client.run_on_scheduler(look).items()
    }


@pytest.mark.parametrize("transport", ["tasks", "stream"])
def test_all_tasks_of_a_fit_have_readable_names(client: Client, transport: str) -> None:
    before = prefixes(client)
    CodedLogisticRegression(code=PAIRS, client=client, transport=transport).fit(X, Y)
    after = prefixes(client)
    message = {"tasks": "gradcode-message", "stream": "gradcode-serve"}[transport]
    assert after >= EVERY_FIT | {"gradcode-chunk", message}
    assert {name for name in after - before if not name.startswith("gradcode-")} == set()


def test_a_fit_is_a_span_and_placing_a_part_of_it(client: Client) -> None:
    before = spans(client)
    for _ in range(2):
        CodedLogisticRegression(code=PAIRS, client=client, transport="tasks").fit(
            da.from_array(X, chunks=(30, 3)), da.from_array(Y, chunks=30)
        )
    after = spans(client)
    new = [after[key] for key in after if key not in before]
    fits = [names for name, names in new if name == ("CodedLogisticRegression.fit",)]
    placed = [names for name, names in new if name == ("CodedLogisticRegression.fit", "place")]
    assert fits == [{"gradcode-message"}] * 2
    assert len(placed) == 2
    assert all(names >= EVERY_FIT | {"gradcode-cut"} for names in placed)


def test_a_fit_on_placed_data_is_a_span_of_its_own(client: Client) -> None:
    before = spans(client)
    with place(X, Y, code=PAIRS, client=client) as data:
        CodedLogisticRegression(client=client, transport="tasks").fit(data)
    new = dict(held for key, held in spans(client).items() if key not in before)
    assert new[("CodedLogisticRegression.fit",)] == {"gradcode-message"}
    assert new[("place",)] >= EVERY_FIT


def test_a_key_begins_with_a_name_and_a_group() -> None:
    key = task_key("cut", "4f0c13a8b2d9")
    assert key_split(key) == "gradcode-cut"
    assert key[0] == "gradcode-cut-4f0c13a8b2d9"
    assert task_key("cut", "4f0c13a8b2d9") != key
