"""
Requests that share a batch: each gets its own answer, whatever the others asked.
"""

import asyncio
import itertools
import threading
import time
from typing import Any

import pytest

from compiler.serve.answers import RequestError
from compiler.serve.batching import Queue


class Doubling:
    """
    An endpoint whose questions are numbers; it refuses negative ones, and fails at a million.

    Questions of one parity are kin; zero is nobody's. It computes while its gate is open.
    """

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()

    def compute(self, question):
        self.gate.wait(10)
        numbers = question if isinstance(question, list) else [question]
        self.batches.append(numbers)
        if min(numbers) < 0:
            raise RequestError(422, "negative")
        if max(numbers) >= 1_000_000:
            raise OSError("out of memory")
        doubled = [2 * number for number in numbers]
        return doubled if isinstance(question, list) else doubled[0]

    def kin(self, question):
        return question % 2 if question else None

    def join(self, questions):
        return list(questions)

    def split(self, results, count):
        assert len(results) == count
        return results


def queue_of(endpoint: Any, *arguments: Any) -> Queue:
    return Queue(endpoint, *arguments)


def answers(endpoint, questions, window=0.0, most=4):
    """
    What a queue gives for questions that all wait when it begins.
    """
    counts: list[int] = []

    async def ask():
        queue = queue_of(endpoint, window, most, counts.append)
        endpoint.gate.clear()
        first = asyncio.create_task(queue.submit(0))
        await asyncio.sleep(0.02)
        tasks = [asyncio.create_task(queue.submit(question)) for question in questions]
        await asyncio.sleep(0.02)
        endpoint.gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert await first == 0
        queue.close()
        return found

    return asyncio.run(ask()), counts


def test_what_waits_is_computed_together_in_the_order_of_coming():
    endpoint = Doubling()
    found, counts = answers(endpoint, [1, 3, 5, 7, 9, 2, 4, 0, 6])
    assert found == [2, 6, 10, 14, 18, 4, 8, 0, 12]
    assert endpoint.batches == [[0], [1, 3, 5, 7], [9], [2, 4], [0], [6]]
    assert max(itertools.accumulate(counts)) == 10
    assert sum(counts) == 0


def test_one_that_is_refused_leaves_the_others_their_answers():
    endpoint = Doubling()
    found, _ = answers(endpoint, [1, -3, 5])
    assert (found[0], found[2]) == (2, 10)
    assert isinstance(found[1], RequestError)


def test_a_failure_is_told_to_each_and_the_queue_goes_on():
    endpoint = Doubling()
    found, _ = answers(endpoint, [2, 1_000_000, 3])
    assert [type(result) for result in found[:2]] == [OSError, OSError]
    assert found[2] == 6


def test_one_alone_fails_alone():
    found, _ = answers(Doubling(), [1_000_000, 3])
    assert isinstance(found[0], OSError)
    assert found[1] == 6


def test_none_share_where_one_is_the_most():
    endpoint = Doubling()
    answers(endpoint, [1, 3], most=1)
    assert endpoint.batches == [[0], [1], [3]]


def test_a_window_waits_for_others():
    endpoint = Doubling()

    async def ask():
        queue = queue_of(endpoint, 0.2, 4)
        first = asyncio.create_task(queue.submit(1))
        await asyncio.sleep(0.05)
        found = [await queue.submit(3), await first]
        queue.close()
        return found

    assert asyncio.run(ask()) == [6, 2]
    assert endpoint.batches == [[1, 3]]


def test_a_client_that_has_gone_is_passed_over():
    endpoint = Doubling()

    async def ask():
        queue = queue_of(endpoint, 0, 4)
        endpoint.gate.clear()
        gone = asyncio.create_task(queue.submit(1))
        await asyncio.sleep(0.02)
        gone.cancel()
        stays = asyncio.create_task(queue.submit(3))
        await asyncio.sleep(0)
        endpoint.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        result = await stays
        queue.close()
        return result

    assert asyncio.run(ask()) == 6


def test_the_loop_is_free_while_a_batch_is_computed():
    endpoint = Doubling()

    async def ask():
        queue = queue_of(endpoint, 0, 4)
        endpoint.gate.clear()
        waiting = asyncio.create_task(queue.submit(1))
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert not waiting.done()
        endpoint.gate.set()
        assert await waiting == 2
        queue.close()

    asyncio.run(ask())


def test_a_closed_queue_answers_what_waits_and_ends_its_thread():
    endpoint = Doubling()

    async def ask():
        queue = queue_of(endpoint, 0, 4)
        endpoint.gate.clear()
        tasks = [asyncio.create_task(queue.submit(number)) for number in (1, 3)]
        await asyncio.sleep(0.02)
        queue.close()
        endpoint.gate.set()
        found = await asyncio.gather(*tasks)
        await asyncio.sleep(0.05)
        # A request that began before its model was loaded again, and whose body came only now.
        return [*found, await queue.submit(5)]

    before = threading.active_count()
    assert asyncio.run(ask()) == [2, 6, 10]
    until = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before
