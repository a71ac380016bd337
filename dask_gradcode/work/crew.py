"""Threads that share what there is to compute."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

__all__ = ["ALONE", "Crew"]

T = TypeVar("T")

_LOOK_EVERY = 0.001  # seconds between two looks of a caller that waits for its helpers

Do = Callable[[T, Callable[[], bool]], None]


class Crew:
    """A number of threads, some of which are the callers of ``each``.

    All callers share the others: as long as one of them computes, helpers join it, up to the number
    of threads, and leave again when more callers come. No thread is started before it is needed.

    Parameters
    ----------
    n_threads : int, default=1
        How many threads shall compute at once. With one there are no helpers.

    Examples
    --------
    >>> crew, done = Crew(2), []
    >>> def do(item, should_stop):
    ...     done.append(item)
    >>> crew.each(do, iter(range(5)), lambda: False)
    True
    >>> sorted(done)
    [0, 1, 2, 3, 4]
    >>> crew.close()
    """

    def __init__(self, n_threads: int = 1) -> None:
        self.n_threads = n_threads
        self._lock = threading.Lock()
        self._free = n_threads  # that may still begin; below zero where callers alone are too many
        self._idle = 0  # helpers that wait
        self._helpers: list[threading.Thread] = []
        self._invitations: SimpleQueue[_Job[Any] | None] = SimpleQueue()

    def each(self, do: Do[T], items: Iterator[T], should_stop: Callable[[], bool]) -> bool:
        """Do something with each item, in order, several of them at once.

        Parameters
        ----------
        do : callable
            ``do(item, should_stop)`` returns early if told to stop.
        items : iterator
            None of them is None. Advanced by one thread at a time.
        should_stop : callable
            Called by any thread, by several of them at once.

        Returns
        -------
        bool
            False if told to stop. By then no thread is at work on any item.

        Raises
        ------
        BaseException
            The first that ``do`` or ``items`` raised, which stops all others.
        """
        job = _Job(do, items, should_stop)
        with self._at_work():
            while job.step(self._invite):
                pass
            job.wait()
        return job.result()

    def close(self) -> None:
        """End the helpers; nobody may be at work."""
        for _ in self._helpers:
            self._invitations.put(None)
        for helper in self._helpers:
            helper.join()
        self._helpers.clear()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._lock:
            self._free -= 1
        try:
            yield
        finally:
            with self._lock:
                self._free += 1

    def _invite(self, job: _Job[Any]) -> None:
        """Have one more thread join, if one is free."""
        with self._lock:
            if self._free <= 0:
                return
            self._free -= 1
            job.enter()
            if self._idle:
                self._idle -= 1
            else:
                name = f"gradcode-helper-{len(self._helpers)}"
                helper = threading.Thread(target=self._help, name=name, daemon=True)
                helper.start()
                self._helpers.append(helper)
        self._invitations.put(job)

    def _help(self) -> None:
        while (job := self._invitations.get()) is not None:
            job.context.copy().run(self._join, job)
            with self._lock:
                self._free += 1
                self._idle += 1
            job.leave()
            del job  # and its arrays

    def _join(self, job: _Job[Any]) -> None:
        # after each item a look: the one that knows how slow this worker shall be waits in it
        while self._free >= 0 and job.step(self._invite) and not job.is_over():
            pass


class _Job(Generic[T]):
    """What one call of ``each`` is about.

    Parameters
    ----------
    do, items, should_stop
        As there.
    """

    def __init__(self, do: Do[T], items: Iterator[T], should_stop: Callable[[], bool]) -> None:
        self._do, self._items, self._should_stop = do, items, should_stop
        self._next = next(self._items, None)
        self._lock = threading.Condition()  # notified when no helper is left
        self._stopped = False
        self._error: BaseException | None = None
        self._n_helpers = 0
        self.context = copy_context()  # which knows the Dask worker, for one

    def look(self) -> bool:
        """Say whether to stop; from any thread."""
        if not self._stopped and self._should_stop():
            self._stopped = True
        return self._stopped

    def step(self, invite: Callable[[_Job[T]], None]) -> bool:
        """Do the next item; False if there is none."""
        try:
            with self._lock:
                item = None if self._stopped else self._next
                if item is None:
                    return False
                self._next = next(self._items, None)
            if self._next is not None:
                invite(self)
            self._do(item, self.look)
        except BaseException as error:
            self._fail(error)
        return True

    def is_over(self) -> bool:
        """Look; what goes wrong in it ends the job."""
        try:
            return self.look()
        except BaseException as error:
            self._fail(error)
            return True

    def enter(self) -> None:
        """Say that a helper comes."""
        with self._lock:
            self._n_helpers += 1

    def leave(self) -> None:
        """Say that a helper has left."""
        with self._lock:
            self._n_helpers -= 1
            if not self._n_helpers:
                self._lock.notify()

    def wait(self) -> None:
        """Wait until all helpers have left, and look meanwhile."""
        while self._n_helpers:
            self.is_over()
            with self._lock:
                if self._n_helpers:
                    self._lock.wait(_LOOK_EVERY)

    def result(self) -> bool:
        """Return whether all was done, or raise what went wrong."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return not self._stopped
        finally:
            del error  # which knows this frame

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if not self._stopped:  # a later error may come of stopping
                self._error, self._stopped = error, True


ALONE = Crew()
"""A crew of its callers alone."""
