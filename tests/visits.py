"""Clients of a desk, on one side of a socket pair."""

from __future__ import annotations

import selectors
import socket

import numpy as np
from distributed.protocol.pickle import dumps

from dask_gradcode.cluster.transport.link import Link
from dask_gradcode.cluster.worker.desk import Desk
from dask_gradcode.cluster.worker.errors import unpack_error
from dask_gradcode.cluster.worker.wire import Frame, Kind, pack
from dask_gradcode.codes import FractionalRepetition, GradientCode
from dask_gradcode.typing import Vector
from dask_gradcode.work import WorkLike, as_work
from helpers import count_rows

__all__ = ["CODE", "Visit", "visit_for"]

CODE = FractionalRepetition(2, 1)  # a message is the sum of both blocks


class Visit:
    """A client's connection to a desk, as the stream has it."""

    def __init__(self, desk: Desk, link: Link) -> None:
        self.link = link
        self.sock, theirs = socket.socketpair()
        desk.accept(theirs)
        link.connect(self.sock)
        self.round = -1

    def begin(self, w: Vector, *asks: int, n_points: int = 1) -> None:
        self.round += 1
        self.link.forget(self.round)
        head = np.array([*asks, 1, n_points], dtype=np.int64)  # 1: the order of derivatives
        self.link.begin(pack(Kind.BEGIN, self.round, len(asks), head, w))

    def next(self) -> Frame:
        """Return the next frame."""
        with selectors.DefaultSelector() as selector:
            while True:
                for frame in self.link.read():  # more than one may have come at once
                    return frame
                selector.register(self.sock, self.link.wanted)
                selector.select()
                selector.unregister(self.sock)
                self.link.flush()

    def works(self) -> None:
        """Check that a round goes well."""
        self.begin(np.zeros(2), 0)
        answer = self.next()
        assert (answer.kind, answer.round, answer.number) == (Kind.ANSWER, self.round, 0)
        np.testing.assert_array_equal(answer.body.view(np.float64), [6.0, 0.0, 0.0])

    def error(self) -> BaseException:
        """Return the error that is told in a message's place."""
        frame = self.next()
        assert (frame.kind, frame.round, frame.number) == (Kind.ERROR, self.round, 0)
        return unpack_error(frame.body.data)

    def close(self) -> None:
        self.sock.close()


def visit_for(desk: Desk, work: WorkLike = count_rows, code: GradientCode = CODE) -> Visit:
    return Visit(desk, Link(0, "here", code, dumps(as_work(work))))
