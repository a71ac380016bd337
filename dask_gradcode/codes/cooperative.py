"""Cooperative repetition: data are held once, and workers send each other what they compute."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.cyclic_design import CyclicDesign, best_design
from dask_gradcode.codes.decoding import Decoder, Decoding, Judge
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.span import ROUNDING, SpanDecoder, least_squares
from dask_gradcode.codes.validation import check_int
from dask_gradcode.typing import Vector

__all__ = ["CooperativeRepetition"]


@dataclass(frozen=True)
class CooperativeRepetition(GradientCode):
    """No block is held twice: workers send each other their block gradients, and upload sums.

    Worker ``i`` holds block ``i`` alone. It computes that block's gradient and sends it to the
    ``n_neighbours`` workers before it, in a circle. Each uploads a sum over its own block and the
    blocks of the workers behind it, with the coefficients of :class:`CyclicRepetition`, and says
    which blocks are in it: links between workers may have lost some. Uploads may be lost, too.
    Where what has arrived is not enough, all send anew, with other coefficients,
    ``n_transmissions`` times at most; nothing is computed again.

    It is for data that may not leave their worker, where links fail and workers do not. A worker
    that is gone takes its block with it, so ``n_stragglers`` is 0.

    Parameters
    ----------
    n_workers : int
        ``n``, number of workers and of blocks.
    n_neighbours : int
        ``s``, from how many others a worker receives block gradients. Of one transmission any
        ``n - s`` complete sums are enough.
    n_transmissions : int, default=2
        How often all may send before a round is given up.
    complete_only : bool, default=False
        Whether sums that lack a block are ignored: the paper's plain decoding, which is all or
        nothing. If not, any sums are used that determine the full one: its GC+.
    approximation : {"closest", "blocks"}, default="closest"
        What an approximate wait rule gets from sums that do not determine the full one: the
        combination that comes closest to it, with something of each block; or the exact sum of
        the single blocks whose own values follow from these sums, which is what GC+ falls back to.
    seed : int, default=0
        Seed of the coefficients.

    Raises
    ------
    ValueError
        If an argument is out of range, or no coefficients are found that decode accurately.

    References
    ----------
    .. [1] Weng, Xiao, Ren and Skoglund, "Cooperative Gradient Coding", IEEE Transactions on
       Communications 73, 2025, arXiv 2507.05230.

    Examples
    --------
    Each of three sums lacks a block, and yet they are enough:

    >>> code = CooperativeRepetition(n_workers=3, n_neighbours=2, n_transmissions=1)
    >>> code.blocks_of(1), code.messages[1].blocks
    ((1,), (0, 1, 2))
    >>> decoder = code.decoder()
    >>> decoder.add_part(0, (0, 1)), decoder.add_part(1, (1, 2)), decoder.add_part(2, (0, 2))
    (False, False, True)
    >>> decoder.decode().residual < 1e-10
    True

    Plain decoding waits for one that is complete:

    >>> decoder = replace(code, complete_only=True).decoder()
    >>> decoder.add_part(0, (0, 1)), decoder.add_part(1, (1, 2)), decoder.add(2)
    (False, False, True)

    Two sums tell one block alone:

    >>> decoder = replace(code, approximation="blocks").decoder()
    >>> decoder.add_part(0, (0, 1)), decoder.add_part(1, (1,))
    (False, False)
    >>> decoder.decode().covered.round(9)
    array([1., 1., 0.])
    """

    n_workers: int
    n_neighbours: int
    n_transmissions: int = 2
    complete_only: bool = False
    approximation: str = "closest"
    seed: int = 0

    def __post_init__(self) -> None:
        check_int(self, "n_workers", 1, None, "[1, inf)")
        check_int(self, "n_neighbours", 0, self.n_workers, "[0, n_workers)")
        check_int(self, "n_transmissions", 1, None, "[1, inf)")
        check_int(self, "seed", 0, None, "[0, inf)")
        if not isinstance(self.complete_only, bool | np.bool_):
            raise ValueError(
                "The 'complete_only' of CooperativeRepetition must be True or False. "
                f"Got {self.complete_only!r} instead."
            )
        object.__setattr__(self, "complete_only", bool(self.complete_only))
        _check_approximation(self)
        try:
            _ = self.messages
        except ValueError as error:
            raise ValueError(
                f"{self!r} has no coefficients that decode accurately; they are those of "
                f"CyclicRepetition, with n_stragglers=n_neighbours.\n{error}\n"
                "Here fewer n_neighbours help, or another seed."
            ) from error

    @property
    def n_stragglers(self) -> int:  # type: ignore[override]
        """0: of each block there is one holder."""
        return 0

    @property
    def n_blocks(self) -> int:
        return self.n_workers

    @property
    def tolerance(self) -> str:
        return (
            f"{self.n_neighbours} lost or incomplete sum(s) of a transmission, but no silent "
            "worker, as no block is held twice"
        )

    @property
    def exchanges(self) -> bool:
        return True

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        """The first transmission's messages, one of each worker, then the next one's..."""
        return tuple(
            message
            for transmission in range(self.n_transmissions)
            for message in self._design(transmission).messages
        )

    def senders(self, message: int) -> tuple[int, ...]:
        return (message % self.n_workers,)

    def first(self, worker: int) -> tuple[int, ...]:
        return (worker,)

    def transmission(self, message: int) -> int:
        """Return to which transmission a message belongs, counted from 0."""
        return message // self.n_workers

    def blocks_of(self, worker: int) -> tuple[int, ...]:
        return (worker,)

    def decoder(self) -> Decoder:
        if self.complete_only:
            return SpanDecoder(self)
        return (_AnyRows if self.approximation == "closest" else _SingleBlocks)(self)

    def _design(self, transmission: int) -> CyclicDesign:
        # Of one and the same B a complete sum would tell nothing new the second time.
        return best_design(self.n_workers, self.n_neighbours, self.seed + transmission)


class _AnyRows(SpanDecoder):
    """Takes each row for what it is: without the blocks that did not reach its sender."""

    def __init__(self, code: CooperativeRepetition) -> None:
        super().__init__(code.encoding_matrix.copy())

    def add_part(self, message: int, blocks: Collection[int]) -> bool:
        if not self._arrived[message]:
            is_lost = np.ones(self._encoding.shape[1], dtype=bool)
            is_lost[list(blocks)] = False
            self._encoding[message, is_lost] = 0.0
        return self.add(message)

    def decode(self) -> Decoding:
        return self._judged(least_squares(self._encoding, self._arrived))

    def _judged(self, weights: Vector) -> Decoding:
        decoding = Judge(csr_array(self._encoding))(weights)
        return replace(decoding, covered=weights @ self._encoding)


class _SingleBlocks(_AnyRows):
    """Where the full sum is not determined, takes the sum of the blocks that are, each alone."""

    def decode(self) -> Decoding:
        if self.spans:
            return super().decode()
        told = self.spanned_columns()
        weights = np.zeros(len(self._encoding))
        if told.any():
            rows = self._encoding[self._arrived]
            weights[self._arrived] = np.linalg.lstsq(rows.T, told.astype(float), rcond=ROUNDING)[0]
        return replace(self._judged(weights), covered=told.astype(float))


def _check_approximation(code: CooperativeRepetition) -> None:
    if code.approximation not in ("closest", "blocks"):
        raise ValueError(
            "The 'approximation' of CooperativeRepetition must be 'closest' or 'blocks'. "
            f"Got {code.approximation!r} instead."
        )
    if code.complete_only and code.approximation == "blocks":
        raise ValueError(
            "complete_only=True is all or nothing, so that approximation='blocks' means nothing. "
            "Use complete_only=False."
        )
