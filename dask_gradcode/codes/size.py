"""How much work there is in data: counted, never timed, so that equal data get equal codes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Size"]

ROW = 16
"""What a row costs beside its values, in stored values: the loss at its linear predictor."""

ENTRY = 4
"""What one more leaf costs an entry of its payload, in stored values: cleared, written, added."""

FOR_LEAVES = 0.05
"""The share of a pass that leaves may cost."""

COMPUTING = 2**24
"""Stored values of a worker's share from which a round's time is computing: twenty milliseconds and
more. The smaller pieces of declustered repetition take 1.1 times as long to place, and a fiftieth
of such a round to go through."""


@dataclass(frozen=True)
class Size:
    """How large data are.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    n_values : int
        Number of values stored: all of dense rows, and of sparse rows only the stored ones.
    n_features : int
        Number of columns.

    Examples
    --------
    >>> size = Size(n_rows=800_000, n_values=80_000_000, n_features=100)
    >>> size.is_computing(n_workers=4), size.is_computing(n_workers=40)
    (True, False)
    >>> size.leaves(n_workers=40, most=8)
    8
    """

    n_rows: int
    n_values: int
    n_features: int

    def of_share(self, n_workers: int) -> float:
        """Return how much work a worker's share of the data is, in stored values."""
        return (self.n_values + ROW * self.n_rows) / n_workers

    def is_computing(self, n_workers: int) -> bool:
        """Say whether computing is what a round's time goes to, rather than messages.

        Parameters
        ----------
        n_workers : int
            Number of workers that share the work.

        Returns
        -------
        bool
            True if a share takes twenty milliseconds, and as long as the client needs for a
            message of every worker's.
        """
        share = self.of_share(n_workers)
        return share >= max(COMPUTING, self.n_features * n_workers)

    def leaves(self, n_workers: int, most: int) -> int:
        """Return into how many blocks a share should be cut, a power of two.

        Parameters
        ----------
        n_workers : int
            Number of shares.
        most : int
            A power of two.

        Returns
        -------
        int
            So many that their sums cost less than a twentieth of a pass, and that each has a row;
            1 at least.
        """
        n_leaves, share = most, self.of_share(n_workers)
        touched = min(self.n_features, self.n_values / n_workers)  # columns, at most
        while n_leaves > 1 and (
            (n_leaves - 1) * ENTRY * touched > FOR_LEAVES * share
            or n_leaves * n_workers > self.n_rows
        ):
            n_leaves //= 2
        return n_leaves
