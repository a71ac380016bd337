"""Which columns of the features each role sees, and how ``w`` and messages are cut to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from dask_gradcode.codes.slices import WHOLE, Slices
from dask_gradcode.payloads import Statistic
from dask_gradcode.several import Several
from dask_gradcode.typing import Mask, Part, Payload, Vector

__all__ = [
    "WORTH_CUTTING",
    "Columns",
    "compact",
    "entries_of",
    "received",
    "renumbered",
    "worth_cutting",
]

WORTH_CUTTING = 0.75
"""Above this share of all columns, gathering and scattering cost more than sending the rest."""


def compact(blocks: Sequence[Any]) -> tuple[list[Any], NDArray[np.int32] | None]:
    """Renumber the columns of CSR arrays so that those without a stored value disappear.

    Parameters
    ----------
    blocks : sequence of csr_array of shape (n_rows, n_features)
        The blocks of one role.

    Returns
    -------
    blocks : list of csr_array of shape (n_rows, n_columns)
        The same values in the same order.
    columns : ndarray of int32, shape (n_columns,), or None
        The original numbers of the columns, ascending; None where it does not pay.

    Examples
    --------
    >>> X = csr_array(np.eye(8)[2:4])
    >>> [block], columns = compact([X])
    >>> block.toarray(), columns
    (array([[1., 0.],
           [0., 1.]]), array([2, 3], dtype=int32))
    """
    n_features = blocks[0].shape[1]
    seen = np.zeros(n_features, dtype=bool)
    for block in blocks:
        seen[block.indices] = True
    columns = worth_cutting(seen)
    if columns is None:
        return list(blocks), None
    number = renumbered(columns, n_features, blocks[0].indices.dtype)
    return [
        csr_array((X.data, number[X.indices], X.indptr), shape=(X.shape[0], columns.size))
        for X in blocks
    ], columns


def worth_cutting(seen: Mask) -> NDArray[np.int32] | None:
    """Return which columns have a stored value; None where it does not pay to know.

    Parameters
    ----------
    seen : ndarray of bool, shape (n_features,)
        Whether a column has one.
    """
    columns = np.flatnonzero(seen).astype(np.int32)
    worth = 0 < columns.size <= WORTH_CUTTING * seen.size
    return columns if worth else None


def renumbered(columns: NDArray[np.int32], n_features: int, dtype: Any) -> NDArray[Any]:
    """Return the new number of each column among those that are kept."""
    number = np.zeros(n_features, dtype=dtype)
    number[columns] = np.arange(columns.size, dtype=number.dtype)
    return number


def entries_of(
    columns: NDArray[np.int32], n_slopes: int, width: int, statistic: Statistic
) -> NDArray[np.integer[Any]]:
    """Return where a payload of some columns lies in that of all.

    Parameters
    ----------
    columns : ndarray of int, shape (n_columns,)
        Which columns, ascending.
    n_slopes : int
        Parameters that belong to all columns: the first ones.
    width : int
        Parameters of a column.
    statistic : Statistic
        What the payload of all columns contains.
    """
    slopes = columns[:, None].astype(np.intp) * width + np.arange(width)
    rest = np.arange(n_slopes, statistic.n_parameters)
    return statistic.entries(np.concatenate([slopes.ravel(), rest]))


class Columns:
    """The columns of all roles, on the client.

    Parameters
    ----------
    n_features : int
        Number of all columns.
    of_role : mapping of int to ndarray of int or None
        The columns of each role; None means all. Roles may be added to it later.
    per_column : int, default=1
        Parameters of a column, which are neighbours in ``w``.
    """

    def __init__(
        self,
        n_features: int,
        of_role: Mapping[int, NDArray[np.int32] | None],
        per_column: int = 1,
    ) -> None:
        self._n_features, self._of_role, self._per_column = n_features, of_role, per_column
        # roles with the same blocks have the same columns: one array serves them all
        self._distinct: dict[bytes, NDArray[np.int32]] = {}
        self._found: dict[int, NDArray[np.int32]] = {}
        # by statistic and columns
        self._entries: dict[Statistic, dict[int, NDArray[np.integer[Any]]]] = {}

    def of(self, per_column: int) -> Columns:
        """Return the same columns for so many parameters each."""
        return Columns(self._n_features, self._of_role, per_column)

    def cut(self, w: Vector, n_points: int = 1) -> Callable[[int], Vector]:
        """Return a function from a role to what it needs of ``w``.

        That is a copy of its columns, and of what comes after the features. What several roles need
        is cut once, when the first of them is asked about.

        Parameters
        ----------
        w : ndarray of shape (n_points * n_parameters,)
            The point; several are abreast.
        n_points : int, default=1
            How many there are.
        """
        width = self._per_column * n_points
        n_slopes = self._n_features * width
        by_column = w[:n_slopes].reshape(self._n_features, width)
        parts: dict[int, Vector] = {}

        def part(role: int) -> Vector:
            columns = self._columns(role)
            if id(columns) not in parts:
                parts[id(columns)] = w.copy() if columns is None else cut(columns)
            return parts[id(columns)]

        def cut(columns: NDArray[np.int32]) -> Vector:
            # all are in range: "clip" saves a look at that
            slopes = by_column.take(columns, axis=0, mode="clip").ravel()
            return np.concatenate([slopes, w[n_slopes:]])

        return part

    def whole(
        self, role: int, payload: Vector, statistic: Statistic, slices: Slices = WHOLE
    ) -> Payload:
        """Return a role's payload as a part of the whole one.

        One of another size than its columns stays as it is.

        Parameters
        ----------
        role : int
            The role.
        payload : ndarray of shape (n_entries,)
            What it has sent.
        statistic : Statistic
            What the whole payload contains.
        slices : Slices, optional
            Which slices it has sent: one is of its columns, a sum of several of all columns, as
            workers with other columns send the same slices.
        """
        columns = self._columns(role)
        if columns is None or not slices.is_plain:
            return slices.carried(payload, statistic.size)
        entries = self._found_entries(statistic)
        if id(columns) not in entries:
            width = self._per_column
            if isinstance(statistic, Several):
                width *= statistic.n_points
            entries[id(columns)] = entries_of(columns, self._n_features * width, width, statistic)
        found = entries[id(columns)]
        if payload.size != slices.length(found.size):
            return payload
        return Part(payload, found if slices.is_whole else slices.of(found), statistic.size)

    def _found_entries(self, statistic: Statistic) -> dict[int, NDArray[np.integer[Any]]]:
        """Return what has been found of a statistic; of many points it is kept of one number."""
        if statistic not in self._entries and isinstance(statistic, Several):
            for other in [kept for kept in self._entries if isinstance(kept, Several)]:
                del self._entries[other]
        return self._entries.setdefault(statistic, {})

    def each(self) -> list[NDArray[np.int32] | None]:
        """Return the columns of every role that is known; None means all."""
        return list(self._of_role.values())

    def _columns(self, role: int) -> NDArray[np.int32] | None:
        if role not in self._found:
            columns = self._of_role[role]
            if columns is None:
                return None
            self._found[role] = self._distinct.setdefault(columns.tobytes(), columns)
        return self._found[role]


def received(
    role: int, payload: Vector, slices: Slices, statistic: Statistic, columns: Columns | None
) -> Payload:
    """Return what a role has sent, as its round takes it.

    Parameters
    ----------
    role : int
        The role that has sent it.
    payload : ndarray of shape (n_entries,)
        What has come.
    slices : Slices
        Which slices it has sent.
    statistic : Statistic
        What the whole payload contains.
    columns : Columns or None
        The columns of all roles; None if all see all of them.
    """
    if columns is None:
        return slices.carried(payload, statistic.size)
    return columns.whole(role, payload, statistic, slices)
