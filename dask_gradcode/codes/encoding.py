"""The encoding matrix of messages."""

from __future__ import annotations

from collections.abc import Iterable

from scipy.sparse import csr_array

from dask_gradcode.codes.message import Message

__all__ = ["encoding_of"]


def encoding_of(messages: Iterable[Message], n_blocks: int, n_slices: int = 1) -> csr_array:
    """Return ``B``, of which only the non-zeros are kept.

    Parameters
    ----------
    messages : iterable of Message
        Its rows.
    n_blocks, n_slices : int
        There is a column for each block; of all blocks' first slices, then of the second ones.

    Returns
    -------
    CSR array of shape (n_messages, n_slices * n_blocks)
        The coefficients.

    Examples
    --------
    >>> from dask_gradcode.codes.slices import Slices
    >>> message = Message((1, 2), (1.0, 3.0), Slices(2, weights=(1.0, -1.0)))
    >>> encoding_of([message], n_blocks=3, n_slices=2).toarray()
    array([[ 0.,  1.,  3.,  0., -1., -3.]])
    """
    values: list[float] = []
    columns: list[int] = []
    starts = [0]
    for message in messages:
        for t, weight in message.slices.terms():
            columns += [t * n_blocks + block for block in message.blocks]
            values += [weight * coefficient for coefficient in message.coefficients]
        starts.append(len(values))
    return csr_array((values, columns, starts), shape=(len(starts) - 1, n_slices * n_blocks))
