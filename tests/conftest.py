"""
What holds for all tests.
"""

import gc
from collections.abc import Iterator
from pathlib import Path

import numba
import pytest


def pytest_collection_finish() -> None:
    """
    Leaves predictors of policies one thread, and spares the garbage collector what is there until the end.

    What divides large batches is compiled at the first of them, as in verification: half of the time that a build
    takes. And compiling makes many objects that live for long; going through all of them after each few hundred was a
    seventh of the time that tests take.
    """
    numba.set_num_threads(1)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)


@pytest.fixture
def several_threads() -> Iterator[None]:
    """
    As many threads for large batches of policies as there are processors, which is what users have.
    """
    numba.set_num_threads(vars(numba.config)["NUMBA_NUM_THREADS"])
    yield
    numba.set_num_threads(1)


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Where mypy keeps what it knows of numpy and numba, which takes it three seconds to learn.
    """
    return tmp_path_factory.mktemp("mypy")
