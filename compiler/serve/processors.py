"""
How workers and their threads share the machine.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from compiler.serve.settings import Settings

MOST: Final = 8
"""Workers that are begun unasked."""
QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux says how much of the processors a container may use."""


def processors() -> int:
    """
    How many processors this process may use.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
        return min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or `max`
        return count


def workers_of(settings: Settings) -> int:
    """
    How many workers there are: one for two processors, since each has a thread for the network beside Python's.
    """
    return settings.workers or min(MOST, max(1, processors() // 2))


def threads_of(settings: Settings) -> int:
    """
    How many threads a large model may have in each worker: a share of the processors.
    """
    return settings.threads or max(1, processors() // workers_of(settings))


@contextmanager
def threads_limited(count: int) -> Iterator[None]:
    """
    Packages that are imported by this thread meanwhile have so many threads at most.

    They take as many as there are processors for them. Where the system can't restrict a thread to some processors, as
    on macOS, nothing is limited.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    former = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(former)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, former)
