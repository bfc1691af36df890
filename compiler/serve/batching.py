"""
Requests that wait together are computed together.

A model that takes long is computed in a thread of its own, which leaves the worker's loop free for other requests. What
has come meanwhile is its next batch: no request waits for others unless a window is set.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

from compiler.serve.answers import RequestError
from compiler.serve.endpoint import Endpoint

LONG: Final = 100e-6
"""Seconds from which on a model is computed in a thread of its own; handing over and back takes about half of that."""


@dataclass(slots=True)
class _Waiting:
    question: Any
    kin: Hashable | None
    result: "asyncio.Future[Any]"


class Queue:
    """
    The questions that wait for one model, and the thread that computes them.

    Args:
        endpoint: what computes.
        window: seconds that a question waits for others.
        most: questions that share a batch.
        wait: is told how many more or fewer wait or are computed, in the loop's thread.
    """

    def __init__(
        self, endpoint: Endpoint, window: float, most: int, wait: Callable[[int], None] = lambda _: None
    ) -> None:
        self._endpoint, self._window, self._most, self._wait = endpoint, window, most, wait
        self.computed: Any = None
        """The question that is computed at this moment; None for none."""
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def submit(self, question: Any) -> Any:
        """
        What the endpoint computes for a question.

        Raises:
            RequestError: as the endpoint's `compute`.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(question, self._endpoint.kin(question), loop.create_future())
        with self._changed:
            self._waiting.append(waiting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, args=(loop,), name="policyc-batches", daemon=True)
                self._thread.start()
            self._changed.notify()
        self._wait(1)
        try:
            return await waiting.result
        finally:
            self._wait(-1)

    def close(self) -> None:
        """
        Ends the thread after what waits; what still comes is answered too.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while batch := self._next():
            results = self._answers(batch)
            loop.call_soon_threadsafe(self._give, list(zip(batch, results, strict=True)))

    def _next(self) -> list[_Waiting]:
        """
        The questions of the next batch, the first of which have waited longest; none at the end.
        """
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                self._thread = None
                return []
        if self._window and self._waiting[0].kin is not None and len(self._waiting) < self._most:
            time.sleep(self._window)
        with self._changed:
            batch = [self._waiting.popleft()]
            kin = batch[0].kin
            while kin is not None and self._waiting and self._waiting[0].kin == kin and len(batch) < self._most:
                batch.append(self._waiting.popleft())
        return batch

    def _answers(self, batch: list[_Waiting]) -> list[Any]:
        """
        A result or an exception for each.
        """
        questions = [waiting.question for waiting in batch]
        if len(batch) > 1:
            try:
                return self._endpoint.split(self._compute(self._endpoint.join(questions)), len(batch))
            except RequestError:
                pass  # one of them is refused, and only that one may be
            except Exception as error:
                return [error] * len(batch)
        return [self._alone(question) for question in questions]

    def _alone(self, question: Any) -> Any:
        try:
            return self._compute(question)
        except Exception as error:
            return error

    def _compute(self, question: Any) -> Any:
        self.computed = question
        try:
            return self._endpoint.compute(question)
        finally:
            self.computed = None

    def _give(self, answered: list[tuple[_Waiting, Any]]) -> None:
        for waiting, result in answered:
            if waiting.result.cancelled():
                continue  # the client has gone
            if isinstance(result, Exception):
                waiting.result.set_exception(result)
            else:
                waiting.result.set_result(result)
