"""What other threads tell one that waits on a selector."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Generic, TypeVar

__all__ = ["Bell"]

News = TypeVar("News")


class Bell(Generic[News]):
    """Rings when there is news; a waiting thread registers ``ear``, and then hears."""

    def __init__(self) -> None:
        self._news: deque[News] = deque()
        self._bell, self.ear = socket.socketpair()

    def tell(self, news: News) -> None:
        """Tell something, from any thread."""
        self._news.append(news)
        with suppress(OSError):  # closed meanwhile
            self._bell.send(b"!")

    def hear(self) -> Iterator[News]:
        """Yield all that has been told; what is being acted upon when an interrupt comes, again."""
        with suppress(BlockingIOError):
            self.ear.recv(64, socket.MSG_DONTWAIT)
        while self._news:
            yield self._news[0]
            self._news.popleft()  # only now

    def close(self) -> list[News]:
        """Hear no more; return what has been told and not heard."""
        self.ear.close()
        self._bell.close()
        return list(self._news)
