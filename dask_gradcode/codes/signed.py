"""What codes have in common that send the sum or the difference of two slices."""

from __future__ import annotations

from dask_gradcode.codes.base import GradientCode
from dask_gradcode.codes.bounds import check_count, least_error
from dask_gradcode.codes.slices import Slices

__all__ = ["SIGNS", "SignedSlices"]

SIGNS = Slices(2, 0, (1.0, 1.0)), Slices(2, 0, (1.0, -1.0))
"""What a message carries: the sum of the two slices, or their difference."""


class SignedSlices(GradientCode):
    """A code whose messages are half as long as a payload, and whose sums need not be exact.

    Worker ``i`` sends message ``i``, and each block is on as many workers as any other.

    Attributes
    ----------
    n_stragglers : int
        Always 0: that a sum is exact is not promised if anybody is silent.

    Examples
    --------
    >>> from dask_gradcode.codes import SlicedGraph
    >>> [message.slices == SIGNS[i % 2] for i, message in enumerate(SlicedGraph(4, 2, 1).messages)]
    [True, True, True, True]
    """

    n_stragglers = 0

    @property
    def resolution(self) -> int:
        return 2

    @property
    def mixes(self) -> bool:
        return True

    def lower_bound(self, n_silent: int) -> float:
        """Return the error of the best code of this degree, if the worst workers are silent.

        Parameters
        ----------
        n_silent : int
            How many workers are silent.

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
        return least_error(n_silent, len(self.holders[0]), 2) / (2 * self.n_blocks)
