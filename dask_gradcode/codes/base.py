"""What every gradient code is: which worker can send which sum of blocks, and how to decode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from dask_gradcode.codes.decoding import Decoder, Decoding, Judge, MixedJudge, mask_of
from dask_gradcode.codes.encoding import encoding_of
from dask_gradcode.codes.message import Message
from dask_gradcode.codes.pickling import let_be_pickled
from dask_gradcode.codes.summing import LaterSum, Sum, mixed_sum, weighted_sum
from dask_gradcode.typing import Mask, Matrix, Payload, Vector

__all__ = ["GradientCode", "Message"]

let_be_pickled()


class GradientCode(ABC):
    """Which blocks each worker holds, what it sends, and how the full sum is decoded.

    A code is an immutable value: a frozen dataclass of its parameters, deterministic for its seed.
    To add one, write a file beside this one with a subclass that gives ``n_blocks``, ``messages``
    and ``decoder``, and ``senders`` unless message ``i`` is worker ``i``'s; list it in
    ``codes/__init__.py`` and in the contract test.

    Attributes
    ----------
    n_workers : int
        Number of workers, ``n`` in the paper.
    n_stragglers : int
        Number of silent workers, whichever they are, after which decoding is still exact, ``s``.
    is_exact : bool
        Whether the sum of all messages is exact; True unless a code says otherwise.

    Examples
    --------
    What all codes have, shown with one of them:

    >>> from dask_gradcode.codes import FractionalRepetition
    >>> code = FractionalRepetition(n_workers=4, n_stragglers=1)
    >>> code.encoding_matrix
    array([[1., 1., 0., 0.],
           [0., 0., 1., 1.]])
    >>> code.senders(1), code.blocks_of(3), code.load
    ((2, 3), (2, 3), 0.5)
    >>> code.can_decode(code.available([0, 1])), code.can_decode(code.available([0, 3]))
    (False, True)
    """

    n_workers: int
    n_stragglers: int
    is_exact: ClassVar[bool] = True

    @property
    @abstractmethod
    def n_blocks(self) -> int:
        """Number of blocks that the data set is cut into."""

    @property
    @abstractmethod
    def messages(self) -> Sequence[Message]:
        """Every message of a round; a worker's are in the order in which it computes them."""

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return a fresh decoder, for one round."""

    def senders(self, message: int) -> tuple[int, ...]:
        """Return the workers that can send a message, as they hold all its blocks.

        Parameters
        ----------
        message : int
            Its index in ``messages``.

        Returns
        -------
        tuple of int
            Ascending. Their payloads are equal bit for bit.
        """
        return (message,)

    def first(self, worker: int) -> tuple[int, ...]:
        """Return the messages that a worker computes unasked, in order; over disjoint blocks."""
        return self.messages_of[worker]

    def children(self, message: int) -> tuple[int, ...]:
        """Return the messages that add up to a message, where it is computed by adding them.

        Parameters
        ----------
        message : int
            Its index in ``messages``.

        Returns
        -------
        tuple of int
            Two messages of the same worker, over the first blocks and the others; or none.
        """
        return ()

    def parent(self, message: int) -> int | None:
        """Return the message of which a message is a child; None if it is nobody's."""
        return None

    @property
    def divides(self) -> bool:
        """Whether workers can compute what they do not compute unasked: others' work, if needed."""
        return any(
            self.children(m) or not self._computes(worker).issuperset(self.messages[m].blocks)
            for m in self.first(0)
            for worker in self.senders(m)
        )

    def _computes(self, worker: int) -> set[int]:
        """Return the blocks that a worker computes unasked."""
        return {block for m in self.first(worker) for block in self.messages[m].blocks}

    @property
    def tolerance(self) -> str:
        """Which workers may be missing from an exact sum, in words for the texts of errors."""
        return f"{self.n_stragglers} silent worker(s), whoever they are"

    @property
    def exchanges(self) -> bool:
        """Whether workers send sums of what others have computed, too: of blocks they do not hold.

        Then links may lose some of these, so that a message comes without some of its blocks and
        says so, and workers have more messages than they send unasked.
        """
        return False

    @property
    def resolution(self) -> int:
        """Into how many slices payloads are cut for messages that carry slices; 1 if none does."""
        return 1

    @property
    def mixes(self) -> bool:
        """Whether messages are sums of several slices, of which decoding makes slices again."""
        return False

    @property
    def shares_sending(self) -> bool:
        """Whether messages are slices as they are, which any worker that has the sum can send."""
        return self.resolution > 1 and not self.mixes

    @cached_property
    def encoding_matrix(self) -> Matrix:
        """``B`` of shape (n_messages, n_blocks): the coefficients of every message.

        Where messages carry slices, ``resolution * n_blocks``: all first slices, all second ones...
        """
        return encoding_of(self.messages, self.n_blocks, self.resolution).toarray()  # type: ignore[no-any-return]

    @cached_property
    def judge(self) -> Judge:
        """What a decoder of this code passes its weights through, to return a ``Decoding``."""
        encoding = encoding_of(self.messages, self.n_blocks, self.resolution)
        return (MixedJudge if self.mixes else Judge)(encoding, self.n_blocks)

    @property
    def load(self) -> float:
        """The largest share of the data that one worker holds, for blocks of equal size."""
        return max(len(self.blocks_of(i)) for i in range(self.n_workers)) / self.n_blocks

    @cached_property
    def messages_of(self) -> tuple[tuple[int, ...], ...]:
        """For each worker the indices of the messages that it can send, ascending."""
        indices: list[list[int]] = [[] for _ in range(self.n_workers)]
        for index in range(len(self.messages)):
            for worker in self.senders(index):
                indices[worker].append(index)
        return tuple(map(tuple, indices))

    def blocks_of(self, worker: int) -> tuple[int, ...]:
        """Return the blocks that a worker holds, ascending."""
        return tuple(sorted({b for m in self.messages_of[worker] for b in self.messages[m].blocks}))

    @cached_property
    def holders(self) -> tuple[tuple[int, ...], ...]:
        """For each block the workers that hold it, ascending."""
        workers: list[list[int]] = [[] for _ in range(self.n_blocks)]
        for worker in range(self.n_workers):
            for block in self.blocks_of(worker):
                workers[block].append(worker)
        return tuple(map(tuple, workers))

    def available(self, workers: Iterable[int]) -> Mask:
        """Return which messages some workers can send between them.

        Parameters
        ----------
        workers : iterable of int
            The workers.

        Returns
        -------
        ndarray of bool, shape (n_messages,)
            What ``can_decode`` takes.
        """
        mask = np.zeros(len(self.messages), dtype=bool)
        for worker in workers:
            mask[list(self.messages_of[worker])] = True
        return mask

    def decode(self, arrived: Mask) -> Decoding:
        """Return the weights for a set of messages.

        Parameters
        ----------
        arrived : ndarray of bool, shape (n_messages,)
            Which messages arrived.

        Returns
        -------
        Decoding
            Its ``residual`` says whether the decoded sum is exact.
        """
        decoder = self.decoder()
        for message in np.flatnonzero(mask_of(arrived, self.messages)).tolist():
            decoder.add(message)
        return decoder.decode()

    def can_decode(self, available: Mask) -> bool:
        """Say whether the full sum can be decoded exactly from a set of messages.

        Parameters
        ----------
        available : ndarray of bool, shape (n_messages,)
            Which messages have arrived or still can.

        Returns
        -------
        bool
            True if the all-ones vector is in the span of their rows of ``B``.
        """
        decoder = self.decoder()
        decodable = False
        for message in np.flatnonzero(mask_of(available, self.messages)).tolist():
            decodable = decoder.add(message)
        return decodable

    def encode(self, message: Message, add: Callable[[int, float], None]) -> None:
        """Combine blocks into a payload; the only place where coefficients meet blocks.

        Parameters
        ----------
        message : Message
            What to compute.
        add : callable
            ``add(block, coefficient)`` adds that multiple of the block's sums to the payload.
            Blocks are added in ascending order, so that replicas agree bit for bit.
        """
        for block, coefficient in zip(message.blocks, message.coefficients, strict=True):
            add(block, coefficient)

    def combine(self, decoding: Decoding, payloads: Mapping[int, Payload]) -> Vector:
        """Combine payloads into the full sum, by weights that need not be one.

        Parameters
        ----------
        decoding : Decoding
            From a decoder of this code.
        payloads : mapping of int to ndarray of shape (n_entries,), or Part
            The payload of each message that arrived.

        Returns
        -------
        ndarray of shape (n_entries,)
            The whole data set's: messages are added in ascending order, whenever they arrived.
        """
        return (mixed_sum if self.mixes else weighted_sum)(decoding.weights, payloads)

    def sum(self) -> Sum:
        """Return a fresh sum, for one round; here it keeps the messages until the end."""
        return LaterSum(self.combine)

    def _repr_html_(self) -> str:
        """Return a card for notebooks: n, s, load, ``B`` as a grid, which worker holds what."""
        from dask_gradcode.codes.card import code_card

        return code_card(self)

    def __getstate__(self) -> dict[str, Any]:
        # Matrices and factors are derived: they are computed anew where they are needed, and a code
        # travels to the workers as small as it was written.
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
