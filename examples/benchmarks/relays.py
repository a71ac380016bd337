"""What sums through relays would bring where the client's link is full: a simulation.

    python examples/benchmarks/relays.py [--workers 1000] [--message 5e-5] [--number 4e-9]

In a flat round the client sends the point to each worker and receives a message of each, one after
the other on its link. With relays some workers receive the messages of their group, add them, and
send one; ``k x m`` are two layers, of k relays below the client and m below each of these. Groups
are runs of shares, so that a relay's sum is a node of one binary tree over all shares. Whoever adds
along that tree gets the same bits, with relays or without.

A machine's link takes one message after the other in each direction. While a message comes, the
last one is added, so that each takes as long as the slower of the two; a hop takes a latency.
``--message`` and ``--number`` are what a message and each number of it cost whoever takes it in, as
``scale.py`` measures it for the client. Computing takes ``--work`` seconds of every worker, more by
5 % on average, exponentially distributed.

The figures are a round's seconds beyond the computing, medians of draws, and with one relay of the
first layer silent: then the client waits 1.15 times as long as it expects, and asks the workers of
that relay's group for their messages themselves.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

LATE = 1.15
DRAWS = 15


@dataclass(frozen=True)
class Machines:
    """What a hop costs."""

    n_numbers: int
    bytes_per_second: float
    message: float
    number: float
    latency: float = 1e-4

    @property
    def sending(self) -> float:
        return 8.0 * self.n_numbers / self.bytes_per_second

    @property
    def taking(self) -> float:
        return max(self.sending, self.message + self.number * self.n_numbers)

    def sent(self, begins: float, count: int) -> np.ndarray:
        """Return when each of some receivers has what is sent to one after the other."""
        return begins + self.sending * np.arange(1, count + 1) + self.latency

    def taken(self, ready: np.ndarray) -> float:
        """Return when all messages have been taken in of those that are ready to be sent then."""
        free = 0.0
        for at in np.sort(ready):
            free = max(free, at + self.latency) + self.taking
        return free


def round_of(
    machines: Machines, begins: float, groups: Sequence[int], computing: np.ndarray
) -> float:
    """Return when the sum of a group is there, by how many relays are in each layer below it.

    ``computing`` are the seconds of the group's workers, of which each relay is one.
    """
    if not groups or groups[0] >= len(computing):
        return machines.taken(machines.sent(begins, len(computing)) + computing)
    below = np.array_split(computing, groups[0])
    starts = machines.sent(begins, groups[0])
    return machines.taken(
        np.array(
            [
                max(round_of(machines, start, groups[1:], group[1:]), start + group[0])
                for start, group in zip(starts, below, strict=True)
            ]
        )
    )


def without_a_relay(machines: Machines, groups: Sequence[int], computing: np.ndarray) -> float:
    """Return when a round ends in which the first relay is silent."""
    expected = round_of(machines, 0.0, groups, computing)
    group = np.array_split(computing, groups[0])[0]
    asked = np.zeros(len(group) - 1)  # they have computed it long since
    return LATE * expected + machines.taken(asked + machines.latency)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--message", type=float, default=5e-5, help="seconds")
    parser.add_argument("--number", type=float, default=4e-9, help="seconds")
    parser.add_argument("--work", type=float, default=0.5, help="seconds")
    options = parser.parse_args()

    n, rng = options.workers, np.random.default_rng(0)
    draws = options.work * (1.0 + 0.05 * rng.exponential(size=(DRAWS, n)))
    root, third = round(n**0.5), round(n ** (1 / 3))
    shapes: list[tuple[int, ...]] = [(), (10,), (root,), (n // 10,), (third, third)]
    names = ["flat", *(" x ".join(map(str, shape)) for shape in shapes[1:])]
    print(f"n = {n}; seconds beyond the computing (with one relay silent)")
    print(f"{'numbers':>9}{'Gbit/s':>8}", *(f"{name:>18}" for name in names), f"{'gain':>6}")
    for n_numbers in (1000, 20_000, 241_916):
        for gigabits in (1, 10, 25):
            machines = Machines(n_numbers, gigabits * 1e9 / 8, options.message, options.number)
            found = [
                median(round_of(machines, 0.0, shape, draw) - draw.max() for draw in draws)
                for shape in shapes
            ]
            silent = [
                median(without_a_relay(machines, shape, draw) - draw.max() for draw in draws)
                for shape in shapes[1:]
            ]
            shown = [f"{found[0]:.3f}"]
            shown += [f"{s:.3f} ({t:.3f})" for s, t in zip(found[1:], silent, strict=True)]
            gain = found[0] / min(found[1:])
            print(f"{n_numbers:>9}{gigabits:>8}", *(f"{s:>18}" for s in shown), f"{gain:>6.1f}")


if __name__ == "__main__":
    main()
