"""Bounds on what is missed where messages are sums of slices (Munim and Ramamoorthy)."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral

import numpy as np

from dask_gradcode.codes.base import GradientCode

__all__ = ["check_count", "design_bound", "gershgorin_bound", "least_error"]


def check_count(code: GradientCode, n_silent: int) -> None:
    """Raise ValueError unless a code has so many workers that can be silent."""
    whole = isinstance(n_silent, Integral) and not isinstance(n_silent, bool)
    if not whole or not 0 <= n_silent <= code.n_workers:
        raise ValueError(
            f"n_silent must be an int in the range [0, {code.n_workers}], as {code!r} has so many "
            f"workers, got {n_silent!r}."
        )


def least_error(n_silent: int, degree: int, n_slices: int) -> int:
    """Return the squared error that some set of silent workers brings about with any code.

    Parameters
    ----------
    n_silent : int
        How many workers are silent.
    degree : int
        Workers that hold a block.
    n_slices : int
        Slices of a payload, of which a message is as long as one.

    Returns
    -------
    int
        In slices of blocks: a block of which no more than ``i`` holders are left is known in ``i``
        of its slices at most.

    Examples
    --------
    >>> [least_error(n_silent, degree=6, n_slices=2) for n_silent in (4, 5, 6, 12)]
    [0, 1, 2, 4]
    """
    missed = range(1, n_slices + 1)
    return max(n * ((n_silent + n_slices - n) // degree) for n in missed)


def gershgorin_bound(code: GradientCode, silent: Iterable[int]) -> float:
    """Return an error that least squares do not exceed, as ``Decoding.error``.

    Parameters
    ----------
    code : GradientCode
        Worker ``i`` sends message ``i``.
    silent : iterable of int
        The workers whose messages are missing.

    Raises
    ------
    ValueError
        If some are no workers of the code.
    """
    gone = {*silent} if isinstance(silent, Iterable) else None
    if gone is None or not gone <= {*range(code.n_workers)}:
        raise ValueError(
            f"silent must be workers of {code!r}, ints in the range [0, {code.n_workers}), "
            f"got {silent!r}."
        )
    alive = np.delete(code.encoding_matrix, sorted(map(int, gone)), axis=0)
    if not alive.size:
        return 1.0
    # the eigenvalues of a Gram matrix are no larger than those of the diagonal of its row sums
    row_sums = abs(alive @ alive.T).sum(axis=1)
    by_slice = alive.reshape(len(alive), code.resolution, code.n_blocks).sum(axis=2)
    found = float((by_slice**2 / row_sums[:, None]).sum())
    return 1.0 - found / float(code.resolution * code.n_blocks)


def design_bound(n: int, degree: int, n_slices: int, n_silent: int) -> float:
    """Return a mean error that least squares do not exceed, as ``Decoding.error``.

    Parameters
    ----------
    n : int
        Number of workers, and of blocks.
    degree : int
        Blocks of a worker, and workers of a block.
    n_slices : int
        Slices of a payload, whose signs in each message are random.
    n_silent : int
        How many workers are silent: any, if two workers always have equally many blocks in common;
        random ones otherwise.

    Notes
    -----
    The messages are combined with their signs times a number that is the best for the mean. What is
    then missed depends on how many blocks two workers have in common on average.
    """
    common, alive = degree * (degree - 1) / (n - 1), n - n_silent
    if not alive:
        return 1.0
    return 1.0 - degree**2 * alive / (n * (n_slices * degree - common + common * alive))
