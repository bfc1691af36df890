"""
Predictors of the golden tests run on one thread: what splits batches over threads takes seconds to compile.
"""

from collections.abc import Iterator

import numba
import pytest

THREADED = ("ppo_dict", "recurrent_discrete", "dqn_cnn", "sac_default", "sac/Pendulum-v1")
"""The recipes and agents whose large batches are split all the same."""


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = numba.get_num_threads()
    if not any(f"[{name}]" in request.node.name for name in THREADED):
        numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)
