"""What the client computes in a round, and a pass over rows: no cluster."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from dask_gradcode.codes import (
    CyclicRepetition,
    DeclusteredRepetition,
    FractionalRepetition,
    GradientCode,
)
from dask_gradcode.losses import Logistic
from dask_gradcode.rounds import Arrived, Balancing, Policy, Round
from dask_gradcode.work import Block, as_work, compute_payload

LARGE: dict[str, GradientCode] = {
    "cyclic": CyclicRepetition(1000, 8),
    "fractional": FractionalRepetition(1000, 9),
}
SMALL: dict[str, GradientCode] = {
    "fractional": FractionalRepetition(30, 2),
    "cyclic": CyclicRepetition(30, 2),
    "declustered": DeclusteredRepetition(30, 2),
}


class Decode:
    """Decoding without the stragglers, of sets that have not been seen before."""

    params = tuple(LARGE)
    param_names = ("code",)
    number, repeat = 1, 30

    def setup(self, code: str) -> None:
        self.code = LARGE[code]
        rng = np.random.default_rng()
        late = rng.choice(1000, 8, replace=False)
        self.here = self.code.available(set(range(1000)) - set(late.tolist()))

    def time_decode(self, code: str) -> None:
        self.code.decode(self.here)


class Rounds:
    """A whole round: who is asked, all answers, the sum."""

    params = tuple(SMALL)
    param_names = ("code",)

    def setup(self, code: str) -> None:
        self.code = SMALL[code]
        self.plan: Policy = Balancing()
        self.answers = [
            Arrived(0, role, message, np.ones(1001))
            for role in range(30)
            for message in self.code.first(role)
        ]

    def time_round(self, code: str) -> None:
        round_ = Round(0, self.code, planner=self.plan.start(self.code))
        round_.begin([], 0.0)
        for answer in self.answers:
            round_.handle(answer, 1.0)
        round_.result()


class Kernel:
    """A pass over the rows of a block, on one thread."""

    params = ("dense", "sparse")
    param_names = ("rows",)

    def setup(self, rows: str) -> None:
        rng = np.random.default_rng(0)
        if rows == "dense":
            X = rng.standard_normal((50_000, 100))
        else:
            X = sparse.random_array((50_000, 5_000), density=0.002, format="csr", rng=rng)
        self.blocks = {0: Block(X, rng.integers(0, 2, 50_000).astype(float))}
        self.code, self.work = FractionalRepetition(1, 0), as_work(Logistic())
        self.w = rng.standard_normal(X.shape[1])

    def time_pass(self, rows: str) -> None:
        compute_payload(self.code, self.code.messages[0], self.blocks, self.work, self.w)
