"""Sums and differences of two slices on a symmetric design, with random signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from numbers import Integral
from typing import Any

import numpy as np

from dask_gradcode.codes.bounds import check_count, design_bound
from dask_gradcode.codes.decoding import Decoder, Decoding
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.signed import SIGNS, SignedSlices
from dask_gradcode.codes.span import least_squares
from dask_gradcode.codes.validation import check_int

__all__ = ["SlicedDesign"]

PLANES: Mapping[int, tuple[int, ...]] = {
    2: (0, 1, 3),
    3: (0, 1, 3, 9),
    4: (0, 1, 4, 14, 16),
    5: (0, 1, 3, 8, 12, 18),
    7: (0, 1, 3, 13, 32, 36, 43, 52),
    8: (0, 1, 3, 7, 15, 31, 36, 54, 63),
    9: (0, 1, 3, 9, 27, 49, 56, 61, 77, 81),
}
"""Of projective planes, by order ``q``: each difference modulo ``q^2 + q + 1`` occurs once."""


@dataclass(frozen=True)
class SlicedDesign(SignedSlices):
    """An approximate code that sends half a payload: blocks by a cyclic design, signs at random.

    There are as many blocks as workers; worker ``i`` holds blocks ``i + d`` modulo ``n`` for the
    ``d`` of ``differences``. It cuts the sum of its blocks into two slices, and sends their sum or
    their difference, as has been drawn for it. Messages are combined by least squares. With a
    *difference set*, in which all differences occur equally often, this is a balanced incomplete
    block design, in which any two workers have equally many blocks in common; with the squares
    modulo a prime it is a strongly regular graph.

    Its sums are never exact, but nearly so, and that hardly changes with the number of silent
    workers. It is for :class:`~dask_gradcode.rounds.Deadline` and
    :class:`~dask_gradcode.rounds.Fastest`; other rules refuse it.

    Parameters
    ----------
    n_workers : int
        ``n``, number of workers and of blocks.
    differences : tuple of int
        Which blocks worker 0 holds: different numbers in ``[0, n)``.
    seed : int, default=0
        Seed of the signs.

    Attributes
    ----------
    n_stragglers : int
        Always 0.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] Munim and Ramamoorthy, "Communication-Efficient Approximate Gradient Coding", arXiv
       2603.22514.

    Examples
    --------
    >>> code = SlicedDesign.plane(order=9)
    >>> code.n_workers, code.messages[2].blocks
    (91, (2, 3, 5, 11, 29, 51, 58, 63, 79, 83))

    Nobody, or a tenth of the workers, is silent. Of 182 slices of blocks so many are missed:

    >>> errors = [code.decode(code.available(range(n, 91))).error for n in (0, 9)]
    >>> [round(182 * error, 1) for error in errors]
    [15.5, 18.9]
    >>> round(182 * code.upper_bound(9), 1)
    19.6
    """

    n_workers: int
    differences: tuple[int, ...]
    seed: int = 0

    is_exact = False

    def __post_init__(self) -> None:
        check_int(self, "n_workers", 2, None, "[2, inf)")
        check_int(self, "seed", 0, None, "[0, inf)")
        found, n = self.differences, self.n_workers
        is_good = isinstance(found, tuple) and found and all(type(d) is int for d in found)
        if not is_good or len({*found}) < len(found) or min(found) < 0 or max(found) >= n:
            raise ValueError(
                "SlicedDesign needs differences to be a tuple of different ints in [0, n_workers), "
                f"got {found!r} with n_workers={n}.\nSlicedDesign.plane and SlicedDesign.squares "
                "have good ones."
            )

    @classmethod
    def plane(cls, order: int, seed: int = 0) -> SlicedDesign:
        """Return the code of a projective plane.

        Parameters
        ----------
        order : {2, 3, 4, 5, 7, 8, 9}
            There are ``order^2 + order + 1`` workers, each holds ``order + 1`` blocks, and two
            workers have one block in common.
        seed : int, default=0
            Seed of the signs.
        """
        if not isinstance(order, Integral) or order not in PLANES:
            raise ValueError(f"order must be one of {', '.join(map(str, PLANES))}, got {order!r}.")
        return cls(int(order) ** 2 + int(order) + 1, PLANES[int(order)], seed)

    @classmethod
    def squares(cls, n_workers: int, seed: int = 0) -> SlicedDesign:
        """Return the code in which blocks differ from their workers by squares.

        Parameters
        ----------
        n_workers : int
            An odd prime. Each worker holds ``(n_workers - 1) / 2`` blocks: a strongly regular
            graph, Paley's, if ``n_workers`` modulo 4 is 1; otherwise a balanced block design.
        seed : int, default=0
            Seed of the signs.
        """
        if not isinstance(n_workers, Integral) or not _is_odd_prime(int(n_workers)):
            raise ValueError(
                f"n_workers must be an odd prime, got {n_workers!r}.{_way_out(n_workers)}"
            )
        n = int(n_workers)
        return cls(n, tuple(sorted({i * i % n for i in range(1, n)})), seed)

    @property
    def n_blocks(self) -> int:
        return self.n_workers

    @property
    def tolerance(self) -> str:
        return "any number of silent workers, and is never exact"

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        n, ones = self.n_workers, (1.0,) * len(self.differences)
        signs = np.random.default_rng(self.seed).integers(2, size=n).tolist()
        held = (tuple(sorted((i + d) % n for d in self.differences)) for i in range(n))
        return tuple(
            Message(blocks, ones, SIGNS[sign]) for blocks, sign in zip(held, signs, strict=True)
        )

    def decoder(self) -> Decoder:
        return _NeverExact(self)

    def upper_bound(self, n_silent: int) -> float:
        """Return a mean error, over the signs, that is not exceeded where workers are silent.

        Parameters
        ----------
        n_silent : int
            How many workers are silent: any of a balanced design, otherwise random ones.

        Returns
        -------
        float
            As ``Decoding.error``: times ``2 * n_blocks`` it is the squared error of the paper.

        Raises
        ------
        ValueError
            If there are not so many workers.
        """
        check_count(self, n_silent)
        return design_bound(self.n_workers, len(self.differences), 2, n_silent)


class _NeverExact(Decoder):
    """Combines what has arrived by least squares, when it is asked to."""

    def __init__(self, code: SlicedDesign) -> None:
        self._code = code
        self._arrived = np.zeros(code.n_workers, dtype=bool)

    def add(self, message: int) -> bool:
        self._arrived[message] = True
        return False

    def decode(self) -> Decoding:
        code = self._code
        return code.judge(least_squares(code.encoding_matrix, self._arrived, code.resolution))


def _is_odd_prime(n: int) -> bool:
    return n > 2 and all(n % i for i in range(2, int(n**0.5) + 1))


def _way_out(n_workers: Any) -> str:
    """Return which primes are next to a number, for the text of an error."""
    if not isinstance(n_workers, Integral):
        return ""
    n = int(n_workers)
    above = next(filter(_is_odd_prime, count(max(n, 3))))
    below = next(filter(_is_odd_prime, range(n, 2, -1)), None)
    return f"\nUse {above} workers." if below is None else f"\nUse {below} or {above} workers."
