"""
The models that the frontend makes compute what SB3 computes: `predict`'s actions, and everything around them.

That is: the scores behind the actions, what drawing an action needs, the next state, and the value.
"""

import numpy as np
import pytest
from gymnasium.spaces import Box
from sb3_contrib import ARS, QRDQN
from stable_baselines3 import DQN, TD3

from compiler.ops.reference import evaluate
from tests.golden.agents import EXPLORATION_RATE, RECIPES, flat, inputs_of, make, model_of, observations_for, save
from tests.golden.compare import assert_same_actions, assert_same_scores
from tests.golden.expected import expected_of, given_for


@pytest.mark.parametrize("name", RECIPES)
def test_the_model_answers_as_sb3_does(name, tmp_path):
    agent = make(name)
    model = model_of(save(name, tmp_path), strict=True)
    given = given_for(agent, observations_for(agent.observation_space))
    expected = expected_of(agent, given)
    seen = flat(agent, given.observations)
    values = evaluate(model, inputs_of(model, given))

    scores = expected.outputs["scores"]
    action = model.output("action").tensor
    actions = values[action].reshape(expected.actions.shape)
    assert_same_scores(values[model.output("scores").tensor], scores, seen)
    assert_same_actions(agent, actions, expected.actions, scores, seen, given.masks)
    assert model.tensors[action].dtype == expected.actions.dtype
    assert model.origin.assumptions == ()

    others = {
        output.name: values[output.tensor] for output in model.outputs if output.role in ("distribution", "value")
    }
    wanted = {output: value for output, value in expected.outputs.items() if output != "scores"}
    assert others.keys() == wanted.keys()
    for output, value in others.items():
        assert_same_output(output, value, wanted[output], seen)
    assert_same_states(model, values, expected, seen)
    assert_drawn_as_by_sb3(name, agent, model.policy.sampling)


def assert_same_output(name, actual, expected, seen):
    if name == "noise_std":
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
    elif name == "std":
        assert_same_scores(np.log(np.broadcast_to(actual, expected.shape)), np.log(expected), seen)
    else:
        assert_same_scores(actual, expected, seen)


def assert_same_states(model, values, expected, seen):
    """
    SB3's state is (h, c), each (layers, n, units); the model has a state for each layer and letter.
    """
    if expected.state is None:
        assert model.states == ()
        return
    layers = len(expected.state[0])
    assert [state.name for state in model.states] == [f"{letter}.{layer}" for layer in range(layers) for letter in "hc"]
    for state in model.states:
        letter, _, layer = state.name.partition(".")
        wanted = expected.state["hc".index(letter)][int(layer)]
        assert_same_scores(values[state.output], wanted, seen)
        initial = model.tensors[state.initial]
        assert (initial.shape, initial.data.any()) == (wanted.shape[1:], False)


def assert_drawn_as_by_sb3(name, agent, sampling):
    """
    How a model says that it draws is how the agent does.
    """
    if isinstance(agent, TD3 | ARS):
        assert sampling is None
    elif isinstance(agent, DQN | QRDQN):
        assert (sampling.kind, sampling.epsilon) == ("epsilon_greedy", EXPLORATION_RATE)
    elif isinstance(agent.action_space, Box):
        assert sampling.kind == ("state_dependent" if RECIPES[name].arguments.get("use_sde") else "gaussian")
        assert sampling.squash == agent.policy.squash_output
    else:
        bits = type(agent.policy.action_dist).__name__ == "BernoulliDistribution"
        assert sampling.kind == ("bernoulli" if bits else "categorical")


@pytest.mark.parametrize("name", ["recurrent_discrete", "recurrent_two_layers"])
def test_an_episode_goes_on_as_with_sb3(name, tmp_path):
    """
    States that are fed back, with resets between, stay those of SB3.
    """
    agent = make(name)
    model = model_of(save(name, tmp_path))
    observations = observations_for(agent.observation_space)[200:260]
    given = given_for(agent, observations[:1])
    for step, observation in enumerate(observations):
        given.observations, given.starts = observation[None], np.array([step % 13 == 0])
        expected = expected_of(agent, given)
        values = evaluate(model, inputs_of(model, given))
        seen = flat(agent, given.observations)
        assert_same_scores(values[model.output("scores").tensor], expected.outputs["scores"], seen)
        assert_same_states(model, values, expected, seen)
        given.state = expected.state
