"""After ``client.restart()``: what is gone is said at once, what can be read is fitted at once."""

from __future__ import annotations

from typing import Any

import dask.array as da
import pytest
from distributed import Client, wait

from dask_gradcode import place
from helpers import Interfering, assert_same_model, local_cluster, logistic_data, reference, tight

pytestmark = pytest.mark.cluster

X, Y = logistic_data(200, 3)


def lazy() -> tuple[Any, Any]:
    return da.from_array(X, chunks=(50, 3)), da.from_array(Y, chunks=50)


def restart(client: Client) -> None:
    client.restart(timeout=100)


def test_a_restart_between_placing_and_fitting_is_said_at_once() -> None:
    with local_cluster(2) as client:
        data, persisted = place(X, Y), [array.persist() for array in lazy()]
        wait(persisted)
        model = tight().fit(data)
        restart(client)
        with pytest.raises(RuntimeError, match=r"placed data is gone.*client\.restart\(\)"):
            model.fit(data)
        with pytest.raises(RuntimeError, match=r"placed data is gone.*client\.restart\(\)"):
            data.replica(0, 0)
        for work in (model.fit, model.score):
            with pytest.raises(RuntimeError, match=r"X was persisted by .* gone: .*restarted"):
                work(*persisted)
        data.close()
        for again in (lazy(), (X, Y)):
            assert_same_model(tight().fit(*again), reference().fit(X, Y))


@pytest.mark.parametrize("transport", ["stream", "tasks"])
def test_a_restart_during_a_fit_is_said_at_once(transport: str) -> None:
    with local_cluster(2) as client:
        solver = Interfering(act=lambda: restart(client))
        with pytest.raises(RuntimeError, match=r"placed data is gone.*client\.restart\(\)"):
            tight(solver=solver, transport=transport).fit(*lazy())
        assert_same_model(tight().fit(*lazy()), reference().fit(X, Y))
