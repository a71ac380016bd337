"""Partial stragglers: most of the data uncoded, so that slow workers do some of the work too."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real

import numpy as np

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.cyclic import CyclicRepetition
from dask_gradcode.codes.decoding import Decoder, Decoding
from dask_gradcode.codes.fractional import FractionalRepetition
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.summing import LaterSum, PrefixSum, Sum
from dask_gradcode.codes.validation import check_int

__all__ = ["PartialStragglers"]


@dataclass(frozen=True, repr=False)
class PartialStragglers(GradientCode):
    """Private blocks first, coded blocks after them: for workers that are slow, not dead.

    Each worker holds ``n_private`` blocks that no other has and the ``s + 1`` blocks that the
    inner code gives it. In every round it sends the sum of the private ones, then the coded message
    of the others. *All* private sums are waited for, and as many coded messages as the inner code
    needs: a worker that is ``slowdown`` times slower than the others has its private sum ready when
    they have done everything, so any ``s`` such workers cost no time.

    It tolerates slow workers and **not one dead or frozen worker**: no other worker can add its
    private blocks. The price is less than the inner code's: ``load`` lies between ``1 / n`` and
    ``(s + 1) / n``.

    Parameters
    ----------
    inner : FractionalRepetition or CyclicRepetition
        Codes the blocks that are not private; its ``n_stragglers`` is the ``s`` of slow workers.
    n_private : int
        Number of private blocks of each worker, at least 1. All blocks are of equal size.

    Attributes
    ----------
    n_workers : int
        The inner code's.
    n_stragglers : int
        Always 0: one silent worker and the sum is no longer exact.

    Raises
    ------
    ValueError
        If ``inner`` is no such code, or ``n_private`` no positive int.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding: Avoiding Stragglers in
       Distributed Learning", ICML 2017, Section 5 (partial stragglers).

    Examples
    --------
    >>> from dask_gradcode.codes import FractionalRepetition
    >>> code = PartialStragglers(FractionalRepetition(n_workers=4, n_stragglers=1), n_private=2)
    >>> code  # doctest: +NORMALIZE_WHITESPACE
    PartialStragglers(inner=FractionalRepetition(n_workers=4, n_stragglers=1), n_private=2)
    # tolerates 1 slow worker(s), no dead one
    >>> code.slowdown, code.load
    (2.0, 0.3333333333333333)

    Messages 0 to 3 are the private sums; 4 and 5 the coded ones, which two workers each can send.

    >>> code.messages_of[3], code.senders(5)
    ((3, 5), (2, 3))
    """

    inner: FractionalRepetition | CyclicRepetition
    n_private: int
    n_workers: int = field(init=False)
    n_stragglers: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        _check_inner(self.inner)
        object.__setattr__(self, "n_workers", self.inner.n_workers)
        check_int(self, "n_private", 1, None, "[1, inf)")

    def __repr__(self) -> str:
        # What it tolerates is no parameter, but no reader must take it for fault tolerance.
        # As a comment it leaves the repr one that Python can read.
        parameters = f"inner={self.inner!r}, n_private={self.n_private}"
        return f"PartialStragglers({parameters})  # tolerates {self.tolerance}"

    @classmethod
    def from_slowdown(
        cls, inner: FractionalRepetition | CyclicRepetition, slowdown: float
    ) -> PartialStragglers:
        """Return the code for workers that are up to ``slowdown`` times slower than the others.

        Parameters
        ----------
        inner : FractionalRepetition or CyclicRepetition
            Codes the blocks that are not private.
        slowdown : float
            The paper's ``alpha``, above 1. The next larger slowdown for which the number of private
            blocks, ``(s + 1) / (slowdown - 1)``, is whole is taken; above ``s + 2`` there is none,
            and one private block per worker comes closest.

        Returns
        -------
        PartialStragglers

        Raises
        ------
        ValueError
            If ``inner`` is no such code, or ``slowdown`` no finite number above 1.

        Warns
        -----
        UserWarning
            If the slowdown had to be changed; it says to what.

        Examples
        --------
        >>> from dask_gradcode.codes import FractionalRepetition
        >>> PartialStragglers.from_slowdown(FractionalRepetition(6, 2), slowdown=1.5).n_private
        6
        """
        _check_inner(inner)
        if not isinstance(slowdown, Real) or not 1.0 < slowdown < np.inf:
            raise ValueError(
                "The 'slowdown' of PartialStragglers must be a float in the range (1, inf). "
                f"Got {slowdown!r} instead."
            )
        wanted = (inner.n_stragglers + 1) / (slowdown - 1.0)
        whole = bool(np.isclose(wanted, round(wanted), rtol=1e-9, atol=0.0))
        code = cls(inner, max(1, round(wanted) if whole else int(wanted)))
        if code.n_private != round(wanted) or not whole:
            warnings.warn(
                f"A slowdown of {slowdown:g} would need {wanted:g} private blocks per worker. "
                f"n_private={code.n_private} is taken, which stands for a slowdown of "
                f"{code.slowdown:g}.",
                UserWarning,
                stacklevel=2,
            )
        return code

    @property
    def slowdown(self) -> float:
        """How many times slower a straggler may be and cost no time: the paper's ``alpha``."""
        return (self.n_private + self.inner.n_stragglers + 1) / self.n_private

    @property
    def tolerance(self) -> str:
        return f"{self.inner.n_stragglers} slow worker(s), no dead one"

    @property
    def n_blocks(self) -> int:
        return self.n_workers * self.n_private + self.inner.n_blocks

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        n_private, n_all_private = self.n_private, self.n_workers * self.n_private
        ones = (1.0,) * n_private
        private = (
            Message(tuple(range(worker * n_private, (worker + 1) * n_private)), ones)
            for worker in range(self.n_workers)
        )
        coded = (
            Message(
                tuple(n_all_private + block for block in message.blocks),
                message.coefficients,
            )
            for message in self.inner.messages
        )
        return (*private, *coded)

    def senders(self, message: int) -> tuple[int, ...]:
        n_private = self.n_workers  # messages
        return (message,) if message < n_private else self.inner.senders(message - n_private)

    def decoder(self) -> Decoder:
        return _PrivateAndCoded(self)

    def sum(self) -> Sum:
        if isinstance(self.inner, FractionalRepetition):  # all weights are 1
            return PrefixSum()
        return LaterSum(self.combine)


def _check_inner(inner: object) -> None:
    if not isinstance(inner, FractionalRepetition | CyclicRepetition):
        raise ValueError(
            "The 'inner' of PartialStragglers must be a FractionalRepetition or a "
            f"CyclicRepetition. Got {inner!r} instead."
        )


class _PrivateAndCoded(Decoder):
    """Counts the private sums, and leaves the coded messages to the inner code's decoder."""

    def __init__(self, code: PartialStragglers) -> None:
        self._code = code
        self._private = np.zeros(code.n_workers)
        self._n_missing = code.n_workers
        self._inner = code.inner.decoder()
        self._decodable = False  # the coded part

    def add(self, message: int) -> bool:
        n = self._private.size
        if message >= n:
            self._decodable = self._inner.add(message - n)
        elif not self._private[message]:
            self._private[message] = 1.0
            self._n_missing -= 1
        return self._decodable and self._n_missing == 0

    def decode(self) -> Decoding:
        # The two parts have no block in common, so each is approximated for itself.
        code, inner = self._code, self._inner.decode()
        n_private = (code.n_workers - self._n_missing) * code.n_private
        missed = self._n_missing * code.n_private + inner.error * code.inner.n_blocks
        amplified = n_private + inner.amplification * code.inner.n_blocks
        return Decoding(
            np.concatenate([self._private, inner.weights]),
            max(inner.residual, 1.0 if self._n_missing else 0.0),
            missed / code.n_blocks,
            amplified / code.n_blocks,
        )
