"""Threads that nobody waits for at the end of the process.

Python's own executor does: Ctrl-C would wait for every grader's program that was begun or queued, two
minutes each.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

_Task = tuple[Future[Any], Callable[[], Any]]


class Threads(Executor):
    """Up to so many threads, begun when there is something to do."""

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._begun = 0

    def submit(self, call: Callable[..., Any], /, *args: Any, **words: Any) -> Future[Any]:
        """Have a function called in one of the threads."""
        future: Future[Any] = Future()
        self._tasks.put((future, lambda: call(*args, **words)))
        if self._begun < self._most:
            self._begun += 1
            Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads when they are done; what has not begun is cancelled. Nobody waits."""
        del wait, cancel_futures
        with suppress(Empty):
            while (task := self._tasks.get_nowait()) is not None:
                task[0].cancel()
        for _ in range(self._begun):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, call = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
                future.set_exception(error)
