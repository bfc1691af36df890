"""
How the threads of a worker take turns on a processor.

A request goes to and fro between granian's threads and Python's. Where they share a processor, Linux switches to a
thread as soon as another wakes it: six times a request, which takes as long as all the rest. Under SCHED_BATCH a thread
works on until it waits, and the next one finds the work of many requests. A single client would gain nothing from that,
and wait longer where other programs keep the processor busy. So threads take turns only while there are several
requests.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

SEVERAL: Final = 3
"""Requests under way from which on threads take turns."""
LOOK: Final = 0.25
"""Seconds between two looks at how many there are."""
CALM: Final = 8
"""Looks in a row that find fewer, until threads no longer take turns."""


class Turns:
    """
    Sets the policy of all threads of this process, which must run under Linux's usual one.

    Whoever has chosen another policy for the server, as by systemd's CPUSchedulingPolicy, keeps it.

    Args:
        waiting: says how many requests are under way.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting
        self._calm = 0
        self.taken = False

    def begin(self) -> None:
        """
        Looks from now on how many requests there are, as long as the running loop does.
        """
        if hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER:
            asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        self._calm = 0 if self._waiting() >= SEVERAL else self._calm + 1
        if self._calm in (0, CALM) and self.taken != (self._calm == 0):
            self.taken = not self.taken
            _set(os.SCHED_BATCH if self.taken else os.SCHED_OTHER)
        asyncio.get_running_loop().call_later(LOOK, self._look)


def _set(policy: int) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended, or a container forbids it
            os.sched_setscheduler(int(thread.name), policy, os.sched_param(0))
