"""
The generated predictors answer as SB3's `predict` does: actions, scores, shapes and dtypes, single and in batches.

Building one takes seconds: the agents that differ most are compared in every run, the others in slow ones.
"""

import numpy as np
import pytest
from gymnasium.spaces import Box

import compiler
from tests.golden.agents import ESSENTIAL, OTHERS, RECIPES, make, observations_for, save, scores_of
from tests.golden.compare import assert_same_actions, assert_same_scores

SINGLES = 60
ALL = [
    *(recipe.name for recipe in ESSENTIAL),
    *(pytest.param(recipe.name, marks=pytest.mark.slow) for recipe in OTHERS),
]


@pytest.fixture(scope="module")
def predictor_of(tmp_path_factory):
    """
    A function that builds the predictor of a recipe, once.
    """
    built = {}

    def build(name):
        if name not in built:
            folder = tmp_path_factory.mktemp(name)
            built[name] = compiler.build(save(name, folder), out=folder, name=f"golden_{name}").load()
        return built[name]

    return build


@pytest.mark.parametrize("name", ALL)
def test_a_batch_is_answered_as_by_sb3(name, predictor_of):
    agent, predictor = make(name), predictor_of(name)
    observations = observations_for(agent.observation_space)
    expected, _ = agent.predict(observations, deterministic=True)
    expected_scores = scores_of(agent, observations)

    actions, state = predictor.predict(observations)
    assert state is None
    assert actions.dtype == expected.dtype
    assert_same_actions(agent, actions, expected, expected_scores, observations)
    assert_same_scores(predictor.scores(observations), expected_scores, observations)


@pytest.mark.parametrize("name", ALL)
def test_a_single_observation_is_answered_as_by_sb3(name, predictor_of):
    agent, predictor = make(name), predictor_of(name)
    everything = observations_for(agent.observation_space)
    observations = everything[:: len(everything) // SINGLES]
    actions, expected = [], []
    for observation in observations:
        action, state = predictor.predict(observation, None, None, True)
        expected.append(agent.predict(observation, deterministic=True)[0])
        actions.append(action)
        assert state is None
        assert type(action) is np.ndarray
        assert (action.shape, action.dtype) == (expected[-1].shape, expected[-1].dtype)
        shortest = predictor.act(observation)
        assert isinstance(shortest, np.ndarray if isinstance(agent.action_space, Box) else int)
        np.testing.assert_array_equal(shortest, action)
    scores = scores_of(agent, observations)
    assert_same_actions(agent, np.array(actions), np.array(expected), scores, observations)


def forms_of(observations):
    """
    The same observations as callers may have them.
    """
    yield "list", observations.tolist()
    yield "Fortran order", np.asfortranarray(observations)
    yield "backwards in memory", np.ascontiguousarray(observations[::-1])[::-1]
    yield "every second in memory", np.repeat(observations, 2, axis=0)[::2]
    for dtype in (np.float32, np.float64, np.int64):
        converted = observations.astype(dtype)
        if (converted == observations).all():
            yield np.dtype(dtype).name, converted


@pytest.mark.parametrize("name", ["ppo_default", "ppo_float64_bounds", "dqn_leaky", "sac_float64", "td3_default"])
def test_every_form_of_an_observation_is_answered_alike(name, predictor_of):
    agent, predictor = make(name), predictor_of(name)
    # Numbers that all of the dtypes can hold.
    observations = np.random.default_rng(2).integers(-3, 4, (50, *agent.observation_space.shape)).astype(np.float32)
    expected, _ = predictor.predict(observations)
    sb3, _ = agent.predict(observations, deterministic=True)
    assert_same_actions(agent, expected, sb3, scores_of(agent, observations), observations)
    for form, batch in forms_of(observations):
        actions, _ = predictor.predict(batch)
        np.testing.assert_array_equal(actions, expected, err_msg=form)
        assert actions.dtype == expected.dtype
    for index in (0, 7):
        for form, single in forms_of(observations[index]):
            action, _ = predictor.predict(single)
            assert action.shape == sb3[index].shape, form
            np.testing.assert_allclose(action, expected[index], rtol=1e-5, atol=1e-5, err_msg=form)


def test_images_are_accepted_channels_first_and_last(predictor_of):
    agent, predictor = make("ppo_image"), predictor_of("ppo_image")
    observations = observations_for(agent.observation_space)[:100]
    last = np.ascontiguousarray(observations.transpose(0, 2, 3, 1))
    expected, _ = agent.predict(observations, deterministic=True)
    np.testing.assert_array_equal(agent.predict(last, deterministic=True)[0], expected)
    np.testing.assert_array_equal(predictor.predict(observations)[0], expected)
    np.testing.assert_array_equal(predictor.predict(last)[0], expected)
    assert predictor.predict(last[3])[0] == expected[3]
    assert predictor.act(last[3]) == expected[3]


@pytest.mark.parametrize("name", ["ppo_default", "sac_default"])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 17, 100, 1000])
def test_the_size_of_a_batch_does_not_matter(name, count, predictor_of):
    agent, predictor = make(name), predictor_of(name)
    observations = observations_for(agent.observation_space)
    expected, _ = agent.predict(observations, deterministic=True)
    actions, _ = predictor.predict(observations[:count])
    assert actions.shape == expected[:count].shape
    scores = scores_of(agent, observations)[:count]
    assert_same_actions(agent, actions, expected[:count], scores, observations[:count])


def test_slow_and_essential_agents_are_all_there():
    assert len(ALL) == len(RECIPES)
