"""
Threads take turns while there are several requests, and no longer when there are few.
"""

import asyncio
import os
import threading

import pytest

from compiler.serve import turns

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="this system has no SCHED_BATCH")


@pytest.fixture
def usual():
    """
    This process under Linux's usual policy, also afterwards.
    """
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        pytest.skip("another policy was chosen for this process")
    yield
    turns._set(os.SCHED_OTHER)


def watched(monkeypatch, waiting, looks):
    """
    After each look, whether threads take turns.
    """
    monkeypatch.setattr(turns, "LOOK", 0.001)
    found = []

    async def run():
        several = iter(waiting)
        done = asyncio.get_running_loop().create_future()

        def look():
            found.append(watcher.taken)
            if len(found) == looks and not done.done():
                done.set_result(None)
            return next(several, 0)

        watcher = turns.Turns(look)
        watcher.begin()
        await done

    asyncio.run(run())
    return found


def test_several_requests(monkeypatch, usual):
    policies: list[int] = []
    monkeypatch.setattr(turns, "_set", policies.append)
    calm, several = turns.CALM, turns.SEVERAL
    waiting = [0, several - 1, several, 0, several + 9] + [1] * calm + [0] * calm + [several]
    taken = watched(monkeypatch, waiting, len(waiting) + 1)[1:]  # what each look has led to
    assert taken == [False] * 2 + [True] * (2 + calm) + [False] * (1 + calm) + [True]
    assert policies == [os.SCHED_BATCH, os.SCHED_OTHER, os.SCHED_BATCH]


def test_all_threads(usual):
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        for policy in (os.SCHED_BATCH, os.SCHED_OTHER):
            turns._set(policy)
            assert os.sched_getscheduler(0) == policy
            assert thread.native_id is not None
            assert os.sched_getscheduler(thread.native_id) == policy
    finally:
        end.set()
        thread.join()


def test_a_policy_that_was_chosen_stays(monkeypatch, usual):
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    async def run():
        turns.Turns(lambda: pytest.fail("nobody may look")).begin()
        await asyncio.sleep(0.01)

    monkeypatch.setattr(turns, "LOOK", 0.001)
    asyncio.run(run())
