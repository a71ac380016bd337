"""The bound of ``rounds.py``: bare blocking sockets, the same bytes, the same kernel, no Dask.

One process per worker, forked from this one, computes its message with ``compute_payload`` from the
same compacted blocks and sends the same cut vectors; the caller's process adds the first answer of
each group.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
from collections.abc import Mapping
from time import perf_counter

import numpy as np

from dask_gradcode.cluster.data.columns import Columns
from dask_gradcode.cluster.data.shard import Shard
from dask_gradcode.codes import GradientCode
from dask_gradcode.kernels import one_blas_thread
from dask_gradcode.payloads import Statistic
from dask_gradcode.work import WorkLike, as_work, compute_payload


class SocketLoop:
    """Rounds over bare sockets with forked workers."""

    def __init__(
        self, code: GradientCode, shards: Mapping[int, Shard], n_features: int, work: WorkLike
    ) -> None:
        self.code, self.work, self.statistic = code, as_work(work), Statistic(n_features)
        self.columns = Columns(n_features, {role: s.columns for role, s in shards.items()})
        self.sockets, self.pids = [], []
        server = socket.create_server(("127.0.0.1", 0))
        for role, shard in shards.items():
            pid = os.fork()
            if pid == 0:
                mine = socket.create_connection(server.getsockname())
                mine.sendall(bytes([role]))
                try:
                    self._work(mine, role, shard)
                finally:
                    os._exit(0)
            self.pids.append(pid)
        accepted = {}
        for _ in shards:
            conn, _ = server.accept()
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted[conn.recv(1)[0]] = conn
        self.sockets = [accepted[role] for role in sorted(accepted)]
        cut = self._cut(np.zeros(n_features))
        self.sizes = {role: Statistic.at(w).size for role, w in cut.items()}

    def _cut(self, w: np.ndarray) -> dict[int, np.ndarray]:
        part = self.columns.cut(w)
        return {role: part(role) for role in range(self.code.n_workers)}

    def _work(self, sock: socket.socket, role: int, shard: Shard) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        width = shard.n_features if shard.columns is None else shard.columns.size
        w, message = np.empty(width), self.code.messages[self.code.messages_of[role][0]]
        blocks = shard.seen_by(self.work)
        with one_blas_thread():
            while receive(sock, w):
                sock.sendall(compute_payload(self.code, message, blocks, self.work, w))

    def round(self, w: np.ndarray) -> float:
        """Run one round and return its seconds."""
        n, size = self.code.n_workers, self.code.n_stragglers + 1
        start = perf_counter()
        for role, part in self._cut(w).items():
            self.sockets[role].sendall(part)
        selector = selectors.DefaultSelector()
        for role, sock in enumerate(self.sockets):
            selector.register(sock, selectors.EVENT_READ, role)
        total, done, seconds, waiting = self.code.sum(), set(), 0.0, n
        while waiting:
            for key, _ in selector.select():
                role, payload = key.data, np.empty(self.sizes[key.data])
                receive(key.fileobj, payload)
                selector.unregister(key.fileobj)
                waiting -= 1
                (message,) = self.code.messages_of[role]
                if message not in done:
                    total.add(message, self.columns.whole(role, payload, self.statistic))
                    done.add(message)
                    if len(done) == n // size:
                        seconds = perf_counter() - start
        return seconds

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def receive(sock: socket.socket, into: np.ndarray) -> bool:
    """Fill an array; False if the connection is closed."""
    view = memoryview(into).cast("B")
    while view:
        n = sock.recv_into(view)
        if n == 0:
            return False
        view = view[n:]
    return True
