"""
What holds for all tests.
"""

import gc
from pathlib import Path

import pytest


def pytest_collection_finish() -> None:
    """
    Spares the garbage collector what is there until the end: modules, and tests.

    Compiling makes many objects that live for long; going through all of them after each few hundred was a seventh of
    the time that tests take.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Where mypy keeps what it knows of numpy and numba, which takes it three seconds to learn.
    """
    return tmp_path_factory.mktemp("mypy")
