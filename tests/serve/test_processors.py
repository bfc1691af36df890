"""
How many workers there are unasked, and how many threads a model has in each.
"""

import os
import threading

import pytest

from compiler.serve import processors
from compiler.serve.processors import threads_limited, threads_of, workers_of
from compiler.serve.settings import Settings


@pytest.mark.parametrize(
    ("count", "settings", "workers", "threads"),
    [
        (1, Settings(), 1, 1),
        (2, Settings(), 1, 2),
        (8, Settings(), 4, 2),
        (64, Settings(), 8, 8),
        (8, Settings(workers=3), 3, 2),
        (2, Settings(workers=4), 4, 1),
        (8, Settings(workers=2, threads=3), 2, 3),
    ],
)
def test_processors_are_divided(monkeypatch, count, settings, workers, threads):
    monkeypatch.setattr(processors, "processors", lambda: count)
    assert workers_of(settings) == workers
    assert threads_of(settings) == threads


def test_a_containers_share_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(processors, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert processors.processors() == 16
    for text, expected in (("max 100000", 16), ("400000 100000", 4), ("50000 100000", 1), ("3200000 100000", 16)):
        processors.QUOTA.write_text(text)
        assert processors.processors() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't restrict a thread to processors")
def test_a_limit_ends_with_the_import_and_is_one_threads_own():
    before, inside, other = os.sched_getaffinity(0), [], []

    def look():
        other.append(os.sched_getaffinity(0))

    # Another thread is begun before: one that is begun inside would inherit the limit.
    begin = threading.Event()
    thread = threading.Thread(target=lambda: (begin.wait(10), look()))
    thread.start()

    def load():
        with threads_limited(1):
            inside.append(os.sched_getaffinity(0))
            begin.set()
            thread.join(10)
            raise ImportError

    with pytest.raises(ImportError):
        load()
    assert len(inside[0]) == 1
    assert other == [before]
    assert os.sched_getaffinity(0) == before
