"""
Workers that hang are found out and replaced; those that work, load or sleep with all the rest are not.
"""

import asyncio
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest

from compiler.serve.metrics import Table
from compiler.serve.watch import BESIDES, LOOKS, Pulse, Watch
from tests.serve.packages import write_package
from tests.serve.serving import Stream, body, eventually, post, serving


def ask(server, *numbers):
    with Stream(server.connect()) as stream:
        return stream.ask(post(body(*numbers))).json["action"]


def looks(watch, table, beating, times, answering=(1, 2)):
    """
    What so many looks find while some workers give signs.
    """
    found = []
    for _ in range(times):
        for worker in beating:
            table.row(worker).beat()
        found += watch.look(answering)
    return found


def test_a_silent_worker_is_found_once():
    table = Table(1, 2)
    watch = Watch(table, 1)
    assert looks(watch, table, [1, 2], 3) == []
    assert looks(watch, table, [1], LOOKS + BESIDES - 1) == []
    assert looks(watch, table, [1], 20) == [2]


def test_a_sign_in_time_is_enough():
    table = Table(1, 1)
    watch = Watch(table, 1)
    for _ in range(3):
        assert looks(watch, table, [1], 1, [1]) == []
        assert looks(watch, table, [], LOOKS + BESIDES - 1, [1]) == []


def test_workers_that_load_may_take_their_time_and_begin_anew():
    table = Table(1, 2)
    watch = Watch(table, 1)
    assert looks(watch, table, [1], LOOKS) == []
    assert looks(watch, table, [1], 3 * LOOKS, answering=[1]) == []
    assert looks(watch, table, [1], LOOKS) == []


def test_nobody_looks_where_no_time_is_too_long():
    assert Watch(Table(1, 1), 0).due is None


def test_a_loop_gives_signs_but_while_one_question_is_computed_for_ever():
    table = Table(1, 1)
    queue: Any = SimpleNamespace(computed=None)

    async def signs(question):
        """
        How many come in ten periods; `question` is asked for what is computed each time.
        """
        before = table.beats[0]
        Pulse(table.row(1), 0.08, lambda: [None, queue]).begin()
        for _ in range(10):
            queue.computed = question()
            await asyncio.sleep(0.01)
        return table.beats[0] - before

    stuck = object()
    assert asyncio.run(signs(lambda: None)) > 2
    assert asyncio.run(signs(object)) > 2
    assert asyncio.run(signs(lambda: stuck)) <= 2  # before it, and when it is new


# A policy is computed in the loop, or in a thread, where the loop goes on.
@pytest.mark.parametrize("options", [[], ["--batch-window-us", 0]])
def test_workers_that_hang_are_replaced(tmp_path, options):
    package = write_package(tmp_path / "double")
    with serving(tmp_path, package, "--workers", 1, "--worker-timeout", 0.8, *options) as server:
        assert ask(server, 1, 0.7) == 2  # what takes less than it may is no hanging
        (first,) = server.workers
        # Stopped all together for longer than one may be: nobody is found to hang.
        os.killpg(server.process.pid, signal.SIGSTOP)
        time.sleep(1.2)
        os.killpg(server.process.pid, signal.SIGCONT)
        time.sleep(0.3)
        assert (server.workers, server.log.read_text()) == ([first], "")

        os.kill(first, signal.SIGSTOP)
        eventually(lambda: "(stopped)" in Path(f"/proc/{first}/status").read_text())
        assert ask(server, 2) == 4  # waits for its successor
        (second,) = server.workers
        with pytest.raises((AssertionError, ConnectionError)):
            ask(server, 3, 100)
        assert ask(server, 4) == 8
        found = server.log.read_text().splitlines()
        assert [line.partition(": ")[2] for line in found] == [
            f"worker 1 (process {pid}) {what}"
            for pid in (first, second)
            for what in ("hangs for 0.8 s: it is killed", "ended by SIGKILL: another one takes its place")
        ]
        with urlopen(f"{server.url}/metrics") as metrics:
            assert b"policyc_workers_hung_total 2.0" in metrics.read()
