"""The code by which data is placed, where a user says it by name or not at all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse

from dask_gradcode.cluster.data.cuts import XFacts, nbytes_of
from dask_gradcode.cluster.data.lazy import is_dask
from dask_gradcode.codes import DeclusteredRepetition, GradientCode, Size, make_code
from dask_gradcode.codes.auto import AUTO, one_fewer, usual_stragglers

__all__ = ["advise", "choose_code", "likely_nbytes", "likely_size", "size_of"]

logger = logging.getLogger("dask_gradcode")


def choose_code(
    code: str | GradientCode,
    n_workers: int | None,
    n_stragglers: int | None,
    seed: int | None,
    hosts: Sequence[str],
    size: Size | None = None,
) -> GradientCode:
    """Return the code that a user's parameters stand for.

    Parameters
    ----------
    code : str or GradientCode
        A name, or the code itself.
    n_workers, n_stragglers, seed : int or None
        As given by the user.
    hosts : sequence of str
        What each of the cluster's workers fails together with, its zone or its host, the code's own
        workers in order: all workers are used where ``n_workers`` is None.
    size : Size, optional
        Of the data, as far as it is known.

    Raises
    ------
    ValueError
        If the parameters contradict each other or fit no code.
    TypeError
        If ``code`` is neither a name nor a code.
    """
    if isinstance(code, GradientCode):
        for name, value in (("n_workers", n_workers), ("n_stragglers", n_stragglers)):
            if value is not None and value != getattr(code, name):
                raise ValueError(
                    f"{name}={value} contradicts code={code!r}. Leave {name} out, or change the "
                    "code."
                )
        return code
    if not isinstance(code, str):
        raise TypeError(f"code must be a name or a GradientCode, got {code!r}.")
    n = len(hosts) if n_workers is None else n_workers
    if n_stragglers is None:
        n_stragglers = usual_stragglers(code, n)
    made = make_code(code, n, n_stragglers, 0 if seed is None else seed, size)
    return _apart(made, hosts) if isinstance(made, DeclusteredRepetition) else made


def _apart(code: DeclusteredRepetition, hosts: Sequence[str]) -> DeclusteredRepetition:
    """Return a code with fewer parts where one host, or zone, would otherwise have blocks alone."""
    if code.n_workers > len(hosts):
        return code

    def n_alone(code: DeclusteredRepetition) -> int:
        return sum(len({hosts[i] for i in holders}) == 1 for holders in code.holders)

    assert isinstance(code.spread, int)
    spreads = (2**k for k in reversed(range(code.spread.bit_length())))
    return min((replace(code, spread=spread) for spread in spreads), key=n_alone)


def advise(code: str | GradientCode, chosen: GradientCode) -> None:
    """Say in the log where one worker fewer would serve better than what "auto" has chosen."""
    better = one_fewer(chosen) if code == AUTO else None
    if better is not None:
        logger.info(
            "n_workers=%d would serve better: %r gives equal bits whoever is late, and the worker "
            "left over takes the role of one that is lost.",
            better.n_workers,
            better,
        )


def likely_size(X: Any) -> Size | None:
    """Return the size of features before any has been computed; None if it cannot be known yet."""
    n_rows, n_features = X.shape
    if is_dask(X):
        known = isinstance(X._meta, np.ndarray) and not np.isnan(n_rows)
        return Size(int(n_rows), int(n_rows) * n_features, n_features) if known else None
    return Size(n_rows, X.nnz if scipy.sparse.issparse(X) else X.size, n_features)


def likely_nbytes(X: Any) -> int | None:
    """Return the bytes of features, as workers hold them; None if they cannot be known yet."""
    if not is_dask(X):
        nbytes, of_ones = nbytes_of(X)
        return nbytes - of_ones
    size = likely_size(X)
    return None if size is None else size.n_values * (4 if X.dtype == np.float32 else 8)


def size_of(chunks: Sequence[XFacts]) -> Size:
    """Return the size of features of which every chunk is known."""
    n_rows = sum(chunk.n_rows for chunk in chunks)
    return Size(n_rows, sum(chunk.n_values for chunk in chunks), chunks[0].n_features)
