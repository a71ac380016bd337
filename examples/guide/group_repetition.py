"""A code of one's own: exact for any number of workers, with no coefficient but 1.

Run it (``python examples/guide/group_repetition.py``) and it trains on five workers of which one
never answers, and compares the coefficients with scikit-learn's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dask_gradcode.codes import Decoder, Decoding, GradientCode, Message


@dataclass(frozen=True)
class GroupRepetition(GradientCode):
    """As many groups of at least ``s + 1`` workers as there can be; each group holds one block.

    Fractional repetition for numbers of workers that ``s + 1`` does not divide: the workers that
    are left over join a group. The price is ``1 / (n // (s + 1))`` of the data on every worker.

    Parameters
    ----------
    n_workers : int
        ``n``, number of workers.
    n_stragglers : int
        ``s``, number of silent workers after which decoding is still exact whoever they are.

    Raises
    ------
    ValueError
        If there are not even ``n_stragglers + 1`` workers.

    Examples
    --------
    >>> code = GroupRepetition(n_workers=5, n_stragglers=1)
    >>> [message.blocks for message in code.messages]
    [(0,), (1,)]
    >>> code.senders(0), code.senders(1)
    ((0, 2, 4), (1, 3))
    >>> code.can_decode(code.available([1, 2])), code.can_decode(code.available([0, 2]))
    (True, False)
    """

    n_workers: int
    n_stragglers: int

    def __post_init__(self) -> None:
        if not 0 <= self.n_stragglers < self.n_workers:
            raise ValueError(
                "GroupRepetition needs 0 <= n_stragglers < n_workers, "
                f"got n_workers={self.n_workers} and n_stragglers={self.n_stragglers}."
            )

    @property
    def n_blocks(self) -> int:
        return self.n_workers // (self.n_stragglers + 1)

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        return tuple(Message((block,), (1.0,)) for block in range(self.n_blocks))

    def senders(self, message: int) -> tuple[int, ...]:
        return tuple(range(message, self.n_workers, self.n_blocks))

    def decoder(self) -> Decoder:
        return EveryBlock(self)


class EveryBlock(Decoder):
    """Waits until every block is there."""

    def __init__(self, code: GroupRepetition) -> None:
        self._code = code
        self._weights = np.zeros(code.n_blocks)

    def add(self, message: int) -> bool:
        self._weights[message] = 1.0
        return bool(self._weights.all())

    def decode(self) -> Decoding:
        return self._code.judge(self._weights.copy())


def main() -> None:
    """Train with the code while worker 0 never answers."""
    from distributed import Client
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from dask_gradcode import CodedLogisticRegression
    from dask_gradcode.cluster import inject
    from dask_gradcode.stragglers import NeverAnswers

    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    cluster = {"n_workers": 5, "processes": False, "dashboard_address": ":0"}
    with Client(**cluster) as client, inject(client, NeverAnswers(workers=[0])):
        model = CodedLogisticRegression(code=GroupRepetition(5, 1), tol=1e-6).fit(X, y)
    difference = np.abs(model.coef_ - LogisticRegression(tol=1e-6).fit(X, y).coef_).max()
    print(f"{model.history_}: largest difference to scikit-learn's {difference:.0e}")


if __name__ == "__main__":
    main()
