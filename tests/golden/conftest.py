"""
Some predictors of the golden tests divide their large batches among threads, as those of users do.
"""

import pytest

THREADED = ("ppo_dict", "recurrent_discrete", "sac_default", "sac/Pendulum-v1")
"""The recipes and agents of these."""


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> None:
    if any(f"[{name}]" in request.node.name for name in THREADED):
        request.getfixturevalue("several_threads")
