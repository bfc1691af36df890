"""
Predictors of every kind of input against the reference: alone, in batches around a block, with masks and states.

They are not compiled: the face and the order of arrays, rows and layers are the same.
"""

from typing import Any

import numpy as np
import pytest

from compiler.ir import ACTION_MASKS, EPISODE_STARTS, Box, Discrete, Model, MultiBinary, MultiDiscrete, Space
from compiler.ops.reference import evaluate
from compiler.options import BuildOptions
from tests import images, policies
from tests.models import predictor

MODELS = {
    "discrete": policies.observing(Discrete(7)),
    "several choices": policies.observing(MultiDiscrete((3, 2, 70)), MultiDiscrete((2, 3))),
    "bits": policies.observing(MultiBinary((2, 3)), MultiBinary((4,))),
    "image": policies.observing(policies.IMAGE),
    "dict": policies.observing(policies.PARTS, policies.NARROW),
    "normalised": policies.normalised(),
    "masked": policies.masked(),
    "masked bits": policies.masked(MultiBinary((3,))),
    "recurrent": policies.recurrent(),
    "recurrent choice": policies.recurrent(1, lambda: Discrete(3)),
}
MANY_FILTERS = images.image_policy((1, 5, 4), (images.Layer(64, (2, 2)), images.Layer(40, (2, 1), (2, 1))), (8,))
ROWS = (1, 3, 11, 16, 40)


def sample(space: Space, rows: int, rng: np.random.Generator) -> np.ndarray:
    match space:
        case Discrete(n=n):
            return rng.integers(0, n, rows)
        case MultiDiscrete(nvec=nvec):
            return rng.integers(0, nvec, (rows, len(nvec)))
        case MultiBinary(shape=shape):
            return rng.integers(0, 2, (rows, *shape)).astype(np.int8)
        case Box() if space.is_image:
            return rng.integers(0, 256, (rows, *space.shape)).astype(np.uint8)
    assert isinstance(space, Box)
    return rng.normal(size=(rows, *space.shape)).astype(np.float32)


def question(model: Model, rows: int, rng: np.random.Generator) -> tuple[Any, dict[str, Any], dict[str, np.ndarray]]:
    """
    An observation and what goes with it as `predict` takes them, and as the reference does.
    """
    assert model.policy is not None
    given = {name: sample(space, rows, rng) for name, space in model.policy.parts}
    single = given.get("observation")
    observation = {name.partition(".")[2]: part for name, part in given.items()} if single is None else single
    others: dict[str, Any] = {}
    if ACTION_MASKS in model.inputs:
        others["action_masks"] = rng.random((rows, model.tensors[ACTION_MASKS].elements)) < 0.5
        given[ACTION_MASKS] = others["action_masks"]
    if model.states:
        state = rng.normal(size=(2, len(model.states) // 2, rows, policies.UNITS)).astype(np.float32)
        starts = rng.integers(0, 2, rows).astype(np.float32)
        others |= {"state": tuple(state), "episode_start": starts}
        given |= {EPISODE_STARTS: starts, **{s.input: state[i % 2][i // 2] for i, s in enumerate(model.states)}}
    return observation, others, given


def first_of(observation: Any) -> Any:
    return {key: part[0] for key, part in observation.items()} if isinstance(observation, dict) else observation[0]


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_the_reference(name, tmp_path):
    with predictor(tmp_path / "agent", MODELS[name], plain=True) as module:
        compare(module, MODELS[name])


@pytest.mark.parametrize(("packed_for", "lanes"), [(16, 8), (16, 4), (4, 1)])
@pytest.mark.parametrize("name", [*MODELS, "many filters"])
def test_kernels_read_what_is_packed_for_wider_registers(name, packed_for, lanes, tmp_path):
    model = MANY_FILTERS if name == "many filters" else MODELS[name]
    options = BuildOptions(lanes=lanes)
    with predictor(tmp_path / "agent", model, options, plain=True, packed_for=packed_for) as module:
        compare(module, model, rows=(1, 5))


def compare(module: Any, model: Model, rows: tuple[int, ...] = ROWS) -> None:
    """
    Asks for observations alone and in batches, and compares with the reference.
    """
    rng = np.random.default_rng(4)
    for count in rows:
        observation, others, given = question(model, count, rng)
        right = evaluate(model, given)
        wanted = {output.role: right[output.tensor] for output in model.outputs}
        actions, state = module.predict(observation, **others)
        np.testing.assert_allclose(actions, wanted["action"], atol=1e-5)
        unmasked = {key: value for key, value in others.items() if key != "action_masks"}
        np.testing.assert_allclose(module.scores(observation, **unmasked), wanted["scores"], atol=1e-5)
        for number, part in enumerate(model.states):
            np.testing.assert_allclose(state[number % 2][number // 2], right[part.output], atol=1e-5)
        if count == 1:
            alone = {"action_masks": others["action_masks"][0]} if "action_masks" in others else others
            found = module.act(first_of(observation), **alone)
            np.testing.assert_allclose(found[0] if model.states else found, wanted["action"][0], atol=1e-5)


@pytest.mark.parametrize("name", ["recurrent", "recurrent choice"])
def test_an_episode_remembers_until_it_is_reset(name, tmp_path):
    model, rng = MODELS[name], np.random.default_rng(5)
    observations = sample(policies.WIDE, 6, rng)
    with predictor(tmp_path / "agent", model, plain=True) as module:
        episode, other = module.Episode(), module.Episode()
        state = None
        for step, observation in enumerate(observations):
            if step == 3:
                episode.reset()
                state = None
            expected, state = module.predict(observation, state)
            np.testing.assert_array_equal(episode.act(observation), expected)
            np.testing.assert_array_equal(episode.state, state)
        assert not np.any(other.state), "episodes must not share their state"


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("masked", {"action_masks": [[1], [1, 0]]}, r"action_masks: expected an array of shape \(1, 9\), found list: "),
    ("masked", {"action_masks": "111111111"}, "action_masks: expected real numbers, found str of dtype <U9"),
    ("masked", {"action_masks": [1, 0]}, r"expected 9 truth values for each of 1 observations, .*\(2,\)"),
    ("recurrent", {"episode_start": [[1], [1, 0]]}, r"episode_start: expected an array of shape \(1,\), found list: "),
    ("recurrent", {"episode_start": [True, False]}, r"episode_start: expected 1 truth values, found bool .*\(2,\)"),
    ("recurrent", {"state": ([1, 2], [3])}, r"state: expected two arrays of shape .* for 1 observations, found"),
    ("dict", {}, r"expected a dict with the keys .*, found a tuple .* env\.reset\(\)"),
]


@pytest.mark.parametrize("name", ["masked", "recurrent", "dict"])
def test_what_goes_with_an_observation_is_refused_by_its_name(name, tmp_path):
    model = MODELS[name]
    observation, _, _ = question(model, 1, np.random.default_rng(6))
    with predictor(tmp_path / "agent", model, plain=True) as module:
        for _, others, text in (case for case in REFUSED if case[0] == name):
            with pytest.raises(ValueError, match=text):
                module.predict(observation if others else (observation, {}), **others)
