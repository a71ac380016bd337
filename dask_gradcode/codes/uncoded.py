"""No code: every block on one worker, and every worker waited for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from dask_gradcode.codes.base import Decoder, GradientCode, Message
from dask_gradcode.codes.fractional import GroupDecoder
from dask_gradcode.codes.sizes import check_sizes

__all__ = ["Uncoded"]


@dataclass(frozen=True)
class Uncoded(GradientCode):
    """Each worker holds one block of its own: the naive baseline, which waits for all.

    With a wait rule that does not wait for all, it is the baseline that ignores stragglers.

    Parameters
    ----------
    n_workers : int
        ``n``.

    References
    ----------
    .. [1] Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017, Section 6.

    Examples
    --------
    >>> Uncoded(3).encoding_matrix
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """

    n_workers: int
    n_stragglers: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_sizes(type(self).__name__, self.n_workers, self.n_stragglers)

    @property
    def n_blocks(self) -> int:
        return self.n_workers

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        return tuple(Message(worker, (worker,), (1.0,)) for worker in range(self.n_workers))

    def decoder(self) -> Decoder:
        return GroupDecoder(self.n_workers, 1)
