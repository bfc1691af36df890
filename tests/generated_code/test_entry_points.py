"""
Entry points read the memory of what they are given, and take only what they can read as it is.
"""

import array
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from tests.models import policy, predictor, write
from tests.thorough import chosen

FEATURES = 5
HEADS = ("argmax", "rescale")
TWICE = """
import json, sys
import numpy as np
import agent
observation = np.linspace(-1, 1, 5, dtype=np.float32)
print(json.dumps([agent.scores(observation).tolist(), agent.predict(np.stack([observation] * 40))[0].tolist()]))
"""


@pytest.fixture(scope="module", params=HEADS)
def module(request, tmp_path_factory) -> Iterator[ModuleType]:
    source = policy((FEATURES,), (7,), 3, head=request.param)
    with predictor(tmp_path_factory.mktemp(request.param) / "agent", source) as module:
        yield module


@pytest.fixture
def observation() -> np.ndarray:
    return np.linspace(-1, 1, FEATURES, dtype=np.float32)


def read_only(row):
    row.flags.writeable = False
    return row


FORMS = {
    "list": list,
    "read-only": read_only,
    "float64": lambda row: row.astype(np.float64),
    "float16": lambda row: row.astype(np.float16),
    "big-endian": lambda row: row.astype(">f4"),
    "strided": lambda row: np.repeat(row, 3)[::3],
    "unaligned": lambda row: np.frombuffer(b"\0" + row.tobytes(), np.uint8)[1:].view("f4"),
    "column": lambda row: np.stack([row, row], axis=1)[:, 0],
    "memoryview": memoryview,
    "array.array": lambda row: array.array("f", row),
    "array.array of double": lambda row: array.array("d", row),
    "subclass": lambda row: row.view(np.recarray),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_an_observation_gives_the_same(module, observation, form):
    expected = module.act(observation)
    given = form(observation.copy())
    tolerance = 2e-3 if getattr(given, "dtype", None) == np.float16 else 1e-6
    assert np.allclose(module.act(given), expected, atol=tolerance)
    action, _ = module.predict(given)
    assert np.allclose(action, expected, atol=tolerance)
    assert action.dtype == module.predict(observation[None])[0].dtype
    assert action.shape == module.predict(observation[None])[0].shape[1:]


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, FEATURES), np.float32),
        np.zeros((FEATURES, 1), np.float32),
        np.zeros(FEATURES + 1, np.float32),
        np.zeros(FEATURES - 1, np.float32),
        np.float32(1),
        b"abcd" * FEATURES,
        bytearray(4 * FEATURES),
        object(),
        None,
        FEATURES,
    ],
    ids=lambda wrong: f"{type(wrong).__name__}-{getattr(wrong, 'shape', '')}",
)
def test_everything_else_is_refused(module, wrong):
    with pytest.raises(ValueError, match=r"^observation"):
        module.act(wrong)


def test_integers_of_the_same_size_are_numbers_not_bits(module, observation):
    whole = np.arange(FEATURES, dtype=np.int32)
    assert np.array_equal(module.act(whole), module.act(whole.astype(np.float32)))


def test_nothing_is_held_after_a_call(module, observation):
    before = sys.getrefcount(observation)
    for _ in range(100):
        module.act(observation)
        module.predict(observation)
        module.predict(observation[None])
    assert sys.getrefcount(observation) == before
    growing = bytearray(4 * FEATURES)
    module.act(memoryview(growing).cast("f"))
    growing.append(0)  # refused while a buffer is exported


@pytest.mark.parametrize("features", [FEATURES])
@pytest.mark.parametrize("head", chosen(HEADS, "rescale"))
def test_a_workspace_too_large_for_the_stack(tmp_path, head, features):
    with predictor(tmp_path / "agent", policy((features,), (20000,), 3, head=head)) as module:
        rows = np.random.default_rng(0).normal(size=(30, features)).astype(np.float32)
        actions, _ = module.predict(rows)
        for row, action in zip(rows, actions, strict=True):
            assert np.allclose(module.act(row), action, atol=1e-4)
            assert np.allclose(module.predict(row)[0], action, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("level", chosen(("0", "1", "max"), "0"))
def test_any_level_of_optimisation_can_be_imported_again(tmp_path, level):
    """
    Without optimisation compiled code refers to Numba's runtime: loaded before that is ready, it would end the process.
    """
    write(tmp_path / "agent", policy((FEATURES,), (7,), 3))
    said = []
    for optimisation in (level, level, "3"):
        variables = os.environ | {"NUMBA_OPT": optimisation, "PYTHONPATH": str(tmp_path)}
        result = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, env=variables)
        assert result.returncode == 0, result.stderr
        said.append(json.loads(result.stdout))
    assert np.allclose(said[0][0], said[2][0], atol=1e-5)
    assert said[0][1] == said[1][1] == said[2][1]
