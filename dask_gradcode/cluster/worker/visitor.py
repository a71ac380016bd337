"""One fit's connection to a desk: what it wants computed, and how far that has come.

A visitor has a job (a code, and the work on each block), a point ``w`` with the number of its
round, messages that are *asked* for, and the *climb* of the one that is being computed. Computing
takes the messages in turn; for the rest they are changed by frames alone::

    JOB    another job
    BEGIN  another round and point: all that was asked for is given up, what it asks for is next
    ASK    more messages, after those that are asked for already
    DROP   messages are given up, the one that is being computed among them
    YIELD  what the climb has finished is sent, all else is given up but the leaf that is running;
           the answer names that leaf, or none

The thread of the desk reads and answers; a crew may compute with it. While it computes it reads
between two pieces of rows, so that a frame has its effect at once and not after the message. The
others go by what it has read. A frame of an older round than the last ``BEGIN`` is ignored, and
once a newer ``BEGIN`` has begun to come, nobody needs the old ``w`` any more: its memory is reused.

Nothing is computed for a client that has not taken the answer before. So a payload is sent before
the next one is computed, whose array it then is. A sum of which slices or the digest are sent is
kept until the next ``BEGIN``, as more of it may be asked for.
"""

from __future__ import annotations

import pickle
import selectors
import socket
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import get_ident

import numpy as np

from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.cluster.worker.delays import Uplink, paced, truthful
from dask_gradcode.cluster.worker.errors import pack_error
from dask_gradcode.cluster.worker.outbox import Outbox
from dask_gradcode.cluster.worker.sending import sent_of
from dask_gradcode.cluster.worker.turns import turns
from dask_gradcode.cluster.worker.wire import (
    TO_WORKER,
    Closed,
    Frame,
    Kind,
    Reader,
    Unreadable,
    pack,
)
from dask_gradcode.codes import GradientCode, Message
from dask_gradcode.typing import Vector
from dask_gradcode.work import ALONE, Climb, Crew, Piece, Sums, Work, of_order, pieces_of
from dask_gradcode.work.account import digest_of

__all__ = ["Job", "Visitor"]

_ASK_BYTES = np.dtype(np.int64).itemsize


@dataclass(frozen=True)
class Job:
    """What a connection computes.

    Parameters
    ----------
    code : GradientCode
        Says how blocks are combined.
    messages : mapping of int to Message
        The messages of the role.
    work : bytes
        The pickled :class:`~dask_gradcode.work.Work`: by itself, once for all roles.
    """

    code: GradientCode
    messages: Mapping[int, Message]
    work: bytes


class Visitor:
    """Computes what one connection asks for, which is never more than its newest round.

    An error in a message's place is told, and the connection stays: the work raised it, or the job
    could not be read. Whatever else goes wrong ends the connection, and the client is told why.

    Parameters
    ----------
    sock : socket.socket
        The connection.
    crew : Crew, optional
        The threads that compute. If not given, only the thread that attends to the visitor.

    Attributes
    ----------
    wanted : int
        What the connection now waits for: ``EVENT_READ``, or ``EVENT_WRITE`` as long as the client
        has not taken an answer, before which nothing more is computed for it.
    """

    def __init__(self, sock: socket.socket, crew: Crew = ALONE) -> None:
        sock.setblocking(False)  # a client that takes no answers keeps no other one waiting
        self.sock, self.wanted = sock, selectors.EVENT_READ
        # A w is no longer needed when the next one begins to come: work on it has been given up.
        self._reader, self._outbox = Reader(sock, TO_WORKER, reuse=True), Outbox(sock, Uplink())
        self._crew = crew
        self._job: Job | None = None
        self._works: Work | None = None  # of any order
        self._work: Work | None = None  # of the round's
        self._error: bytes | None = None  # for which the job cannot be read, packed
        self._round, self._w = -1, np.zeros(0)
        self._unused: list[Vector] = []  # arrays to compute in
        self._asked: deque[int] = deque()  # ~i asks for the digest of message i
        self._climb: Climb | None = None  # what is being computed
        self._sums = Sums()  # of this round, of which more slices may be asked for
        self._failures: dict[tuple[int, ...], bytes] = {}  # the packed errors in their place
        self._dropped: set[int] = set()  # slices that are not to be sent, once their sum is there
        self._leaving = False

    def attend(self, shard: Shard) -> bool:
        """Read all that has come, and compute one message; True if more are asked for.

        Raises
        ------
        Closed
            If the connection is at its end.
        """
        if self.wanted == selectors.EVENT_WRITE and not self._flush():
            return False
        try:
            self._read()
            if self._asked:
                self._answer(shard)
        except Closed:
            raise
        except BaseException as error:  # of whatever kind: it is this visitor's
            self._outbox.add(pack(Kind.REFUSAL, self._round, -1, pack_error(error)))
            self._leaving = True
        return self._flush() and bool(self._asked)

    def _flush(self) -> bool:
        """Send what the client takes; True if that is all."""
        done = self._outbox.flush()
        self.wanted = selectors.EVENT_READ if done else selectors.EVENT_WRITE
        if done and self._leaving:
            raise Closed("it has been told why")
        return done

    def _answer(self, shard: Shard) -> None:
        """Compute the message that is next."""
        ask, round_ = self._asked.popleft(), self._round
        message, is_kept = max(ask, ~ask), ask < 0
        if self._error is not None:
            self._outbox.add(pack(Kind.ERROR, round_, message, self._error))
            return
        assert self._job is not None  # else nothing can be asked for
        sent = self._job.messages[message]
        if sent.blocks in self._failures:
            self._outbox.add(pack(Kind.ERROR, round_, message, self._failures[sent.blocks]))
            return
        self._climb = climb = Climb(self._job.code, message, self._unused)
        try:
            payload = self._sums.get(
                sent, lambda: self._compute(shard, climb, is_kept), keep=is_kept
            )
        except (Closed, Unreadable):
            raise
        except BaseException as error:  # SystemExit, too: it is no reason to leave other fits
            packed = pack_error(error)
            self._outbox.add(pack(Kind.ERROR, round_, climb.message, packed))
            if not sent.slices.is_whole and self._round == round_:
                self._failures[sent.blocks] = packed
        else:
            if payload is not None and is_kept:
                digest = digest_of(payload)
                self._outbox.add(pack(Kind.DIGEST, round_, climb.message, digest))
            elif payload is not None and climb.message not in self._dropped:
                self._send(shard, round_, climb.message, payload)
        finally:
            self._climb = None

    def _send(self, shard: Shard, round: int, message: int, payload: Vector) -> None:
        """Send what a message carries of a sum."""
        assert self._job is not None
        assert self._work is not None
        sent = self._job.messages[message]
        if sent.slices.is_whole:
            self._outbox.add(pack(Kind.ANSWER, round, message, payload))
            if sent not in self._sums:
                self._unused.append(payload)  # it is sent before the next one is computed
        else:
            body = sent_of(sent, payload, shard, self._work, self._w)
            self._outbox.add(pack(Kind.ANSWER, round, message, body))

    def _compute(self, shard: Shard, climb: Climb, is_kept: bool) -> Vector | None:
        assert self._job is not None
        assert self._work is not None
        job, work, round_, w = self._job, self._work, self._round, self._w
        blocks, reader, over = shard.seen_by(work), get_ident(), False

        def superseded() -> bool:
            nonlocal over
            if get_ident() == reader and not over:  # the others go by what it has read
                self._read()
                over = self._round != round_ or self._reader.begun() is Kind.BEGIN
                over = over or self._climb is not climb  # it has been dropped
            return over

        def cut(leaf: int) -> Sequence[Piece]:
            pieces = pieces_of(job.code, job.messages[leaf], blocks, work, w)
            return truthful(pieces, shard.role, round_)

        def compute(should_stop: Callable[[], bool]) -> Vector | None:
            return climb.finish(cut, should_stop, self._crew)

        who = self, shard.role, round_, job.code.n_workers
        with turns.round():
            payload = paced(compute, superseded, *who)
        is_sent = job.messages[climb.message].slices.is_whole and not is_kept
        return payload if is_sent or self._round == round_ else None  # what is kept must be new

    def _yield(self) -> None:
        """Send what is finished, and keep nothing but the leaf that is being computed."""
        self._asked.clear()
        running = -1
        if self._climb is not None and self._climb.running is not None:
            for message, payload in self._climb.cut().items():
                self._outbox.add(pack(Kind.ANSWER, self._round, message, payload))
            running = self._climb.message
        self._outbox.add(pack(Kind.YIELDED, self._round, running))
        self._outbox.flush()  # what it takes at once: computing goes on

    def _drop(self, messages: Collection[int]) -> None:
        """Give up messages, the one that is being computed among them."""
        self._asked = deque(ask for ask in self._asked if max(ask, ~ask) not in messages)
        if self._climb is None or self._climb.message not in messages:
            return
        assert self._job is not None
        if self._job.messages[self._climb.message].slices.is_whole:
            self._climb = None
        else:  # other slices of the sum may be asked for
            self._dropped.add(self._climb.message)

    def _read(self) -> None:
        frame = self._reader.read()
        while frame is not None:
            self._take(frame)
            frame = self._reader.read() if self._reader.has_more else None

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.BEGIN:
            self._begin(frame)
        elif frame.kind is Kind.ASK and frame.round == self._round:
            self._ask(frame.body.view(np.int64).tolist())
        elif frame.kind is Kind.YIELD and frame.round == self._round:
            self._yield()
        elif frame.kind is Kind.DROP and frame.round == self._round:
            self._drop(frame.body.view(np.int64).tolist())
        elif frame.kind is Kind.JOB:
            self._load(frame.body.data)

    def _begin(self, frame: Frame) -> None:
        head = (frame.number + 2) * _ASK_BYTES
        *asks, order, n_points = frame.body[:head].view(np.int64).tolist()
        self._round, self._w = frame.round, frame.body[head:].view(np.float64)
        if self._works is not None:
            try:
                self._work = of_order(self._works, order, n_points)
            except (TypeError, ValueError) as error:
                raise Unreadable(str(error)) from error
            if self._work.is_foreign or self._crew.n_threads > 1:
                # It may be kept, or others may be at work on it when the next one begins to come.
                self._w = self._w.copy()
        self._asked.clear()
        self._climb = None
        self._unused += self._sums.clear()  # all of it that was sent has been taken
        self._failures.clear()
        self._dropped.clear()
        self._ask(asks)

    def _ask(self, asks: Iterable[int]) -> None:
        for ask in asks:
            message = max(ask, ~ask)
            if self._error is None and (self._job is None or message not in self._job.messages):
                raise Unreadable(f"Message {message} was asked for, which is none of the job's.")
            self._dropped.discard(message)
            if ask not in self._asked:
                self._asked.append(ask)

    def _load(self, body: memoryview) -> None:
        self._job, self._works, self._work, self._error = None, None, None, None
        try:
            job = pickle.loads(body)
            if not isinstance(job, Job):
                raise TypeError(f"A job is expected, {type(job).__name__} came.")
            self._job, self._works = job, pickle.loads(job.work)
        except BaseException as error:  # of a module that it imports; told for every message
            error.add_note("while reading the code and the work of a fit")
            self._error = pack_error(error)
