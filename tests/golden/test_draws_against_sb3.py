"""
Predictors draw from the distributions of SB3's own policies: the parameters are equal, and so are moments of the draws.

The packages are not compiled: that compiled ones compute the same parameters, other tests of this folder show.
"""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.utils import set_random_seed

from compiler.options import BuildOptions
from compiler.pipeline import run_passes
from tests.golden.agents import EXPLORATION_RATE, make, model_of, save
from tests.golden.expected import Given, expected_of, given_for
from tests.models import predictor
from tests.thorough import chosen

OBSERVATIONS = 60
DRAWS = 500
SIGMAS = 5
PROBABLE = [
    *("ppo_default", "a2c_several_choices", "ppo_bits", "trpo_discrete"),
    *("maskable_discrete", "maskable_several", "maskable_bits", "recurrent_discrete"),
]
NORMAL = ["ppo_box", "ppo_float64_bounds", "ppo_integer_bounds", "a2c_box", "recurrent_two_layers"]
SQUASHED = ["tqc_default", "crossq_default"]
NOISY = ["ppo_sde", "ppo_sde_narrow", "ppo_squashed", "sac_clipped_mean", "sac_sde_no_layers"]

DRAWN = (
    *("a2c_several_choices", "maskable_discrete", "ppo_bits", "maskable_bits", "recurrent_two_layers"),
    *("ppo_integer_bounds", "crossq_default"),
)
"""Whose draws are counted in every run: one of each kind of distribution; their parameters are compared of all."""


@pytest.fixture(scope="module")
def predictor_of(tmp_path_factory):
    """
    A function that makes the predictor of a recipe, a context.
    """

    def make_predictor(name: str) -> Any:
        folder = tmp_path_factory.mktemp(name)
        return predictor(folder / name, run_passes(model_of(save(name, folder)), BuildOptions()), plain=True)

    return make_predictor


def given_to(agent: Any, repeated: int = 0) -> Given:
    """
    Random observations near zero, with what else the agent takes; or one of them, repeated.
    """
    space = agent.observation_space
    space.seed(1)
    rng = np.random.default_rng(6)
    count = 1 if repeated else OBSERVATIONS
    rows = np.stack([space.sample() for _ in range(count)])
    if isinstance(space, Box):
        rows = rng.normal(size=rows.shape).astype(space.dtype)
    given = given_for(agent, np.repeat(rows, repeated, axis=0) if repeated else rows)
    if repeated and given.masks is not None:
        given.masks = np.repeat(given.masks[1:2], repeated, axis=0)
    if repeated and given.state is not None:
        hidden, cell = (np.repeat(part[:, :1], repeated, axis=1) for part in given.state)
        given.state = hidden, cell
        given.starts = np.zeros(repeated, bool)
    return given


def arguments(given: Given) -> dict[str, Any]:
    """
    What `predict` takes besides the observations, here as in SB3.
    """
    found: dict[str, Any] = {}
    if given.masks is not None:
        found["action_masks"] = given.masks
    if given.state is not None:
        found |= {"state": given.state, "episode_start": given.starts}
    return found


def distributions(agent: Any) -> list[Any]:
    """
    torch's distributions that SB3's last prediction has left behind, one for each choice.
    """
    owner = agent.policy.actor if hasattr(agent.policy, "actor") else agent.policy
    found = getattr(owner.action_dist, "distributions", None) or owner.action_dist.distribution
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("name", PROBABLE)
def test_probabilities(name, predictor_of):
    agent = make(name)
    given = given_to(agent)
    expected_of(agent, given)
    expected = np.concatenate([part.probs.detach().numpy() for part in distributions(agent)], axis=1)
    with predictor_of(name) as module:
        found = module.action_probabilities(given.observations, **arguments(given))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", [*NORMAL, *SQUASHED, *NOISY])
def test_mean_and_deviation(name, predictor_of):
    agent = make(name)
    given = given_to(agent)
    expected_of(agent, given)
    (expected,) = distributions(agent)
    with predictor_of(name) as module:
        found = module.distribution(given.observations, **arguments(given))
    np.testing.assert_allclose(found["mean"], expected.mean.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["std"], expected.stddev.detach().numpy(), rtol=1e-4)


@pytest.mark.parametrize("name", ["dqn_default", "qrdqn_default"])
def test_q_values_and_exploration(name, predictor_of):
    agent = make(name)
    given = given_to(agent)
    expected = expected_of(agent, given).outputs["scores"]
    with predictor_of(name) as module:
        found = module.distribution(given.observations)
    np.testing.assert_allclose(found["q_values"], expected, rtol=1e-4, atol=1e-5)
    assert found["epsilon"] == EXPLORATION_RATE


@pytest.mark.parametrize("name", chosen((*PROBABLE, *NORMAL, *SQUASHED), *DRAWN))
def test_draws_have_the_moments_of_those_of_sb3(name, predictor_of):
    agent = make(name)
    given = given_to(agent, DRAWS)
    set_random_seed(3)
    expected, state = agent.predict(given.observations, **arguments(given), deterministic=False)
    with predictor_of(name) as module:
        generator = np.random.default_rng(4)
        drawn, my_state = module.predict(
            given.observations, **arguments(given), deterministic=False, generator=generator
        )
    assert (drawn.shape, drawn.dtype) == (expected.shape, expected.dtype)
    for mine, theirs in zip(my_state or (), state or (), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
    for power in (1, 2, 3):
        mine, theirs = drawn.astype(np.float64) ** power, expected.astype(np.float64) ** power
        error = np.sqrt((mine.var(axis=0) + theirs.var(axis=0)) / DRAWS)
        assert (np.abs(mine.mean(axis=0) - theirs.mean(axis=0)) <= SIGMAS * error + 1e-6 * np.abs(theirs).max()).all()


@pytest.mark.parametrize("name", NOISY)
def test_noise_of_a_matrix_is_that_of_sb3(name, predictor_of):
    agent = make(name)
    given = given_to(agent)
    owner = agent.policy.actor if hasattr(agent.policy, "actor") else agent.policy
    with predictor_of(name) as module:
        module.reset_noise(np.random.default_rng(2))
        drawn = module.predict(given.observations, deterministic=False)[0]
        noise = np.random.default_rng(2).standard_normal(tuple(owner.action_dist.exploration_mat.shape), np.float32)
    expected_of(agent, given)
    owner.action_dist.exploration_mat = owner.action_dist.get_std(owner.log_std).detach() * torch.from_numpy(noise)
    expected = agent.predict(given.observations, deterministic=False)[0]
    assert drawn.dtype == expected.dtype
    width = np.ptp([agent.action_space.low, agent.action_space.high], axis=0)
    assert (np.abs(drawn - expected) <= 1e-5 * width).all()
