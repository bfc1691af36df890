"""
Predictors with VecNormalize's statistics in them answer raw observations as SB3 does with both files.
"""

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecTransposeImage

import compiler
from compiler.verify_package import verify_package
from tests.frontends.vecnormalize_files import CAMERA, PARTS, before_1_7, changed, normalizing, saved, wrapped
from tests.golden.agents import randomise
from tests.thorough import THOROUGH

ACTIONS = spaces.Box(-1, 1, (3,))
VECTORS = spaces.Dict({key: PARTS[key] for key in ("counts", "speed", "switch")})

pytestmark = pytest.mark.slow


def compare(folder, policy, normalize, statistics, observations, environment=None, **arguments):
    """
    Builds the predictor of an agent, and compares its answers for a batch and one by one.
    """
    agent = PPO(policy, environment or normalize, device="cpu", seed=1, policy_kwargs=arguments)
    randomise(agent.policy, 7)
    checkpoint = folder / "agent.zip"
    agent.save(checkpoint)
    options = compiler.BuildOptions(verify_observations=40, vecnormalize=str(statistics), strict=True)
    built = compiler.build(checkpoint, out=folder / "out", options=options)
    predictor = built.load()
    expected, _ = agent.predict(normalize.normalize_obs(observations), deterministic=True)
    assert (expected.std(axis=0) > 1e-3).any()
    actions, _ = predictor.predict(observations)
    assert actions.dtype == expected.dtype
    np.testing.assert_allclose(actions, expected, atol=2e-5)
    for row in range(5):
        parts = isinstance(observations, dict)
        one = {key: values[row] for key, values in observations.items()} if parts else observations[row]
        np.testing.assert_allclose(predictor.act(one), expected[row], atol=2e-5)
    return built.path, checkpoint


def samples(space, count=50):
    space.seed(3)
    return np.stack([space.sample() for _ in range(count)])


def test_statistics_are_applied_to_unrounded_observations(tmp_path):
    """
    Where the mean is large, rounding an observation to float32 first would move it by a good part of the deviation.
    """
    normalize = normalizing(-3, 4, actions=ACTIONS)
    normalize.obs_rms.mean += 1e6
    normalize.obs_rms.var *= 1e-4
    observations = normalize.obs_rms.mean + np.random.default_rng(0).normal(0, 0.02, (50, 4))
    path, checkpoint = compare(tmp_path, "MlpPolicy", normalize, saved(tmp_path, normalize), observations)
    found = verify_package(path, against=checkpoint, vecnormalize=tmp_path / "vecnormalize.pkl", trust=True)
    assert found.source is not None


def test_whole_numbers_are_normalised(tmp_path):
    normalize = normalizing(-3, 2, 4, actions=ACTIONS, dtype=np.int16)
    compare(tmp_path, "MlpPolicy", normalize, saved(tmp_path, normalize), samples(normalize.observation_space))


def test_some_parts_of_a_dict_are_normalised(tmp_path):
    normalize = wrapped(VECTORS, ACTIONS, norm_obs_keys=["speed"])
    observations = {key: samples(part) for key, part in VECTORS.spaces.items()}
    compare(tmp_path, "MultiInputPolicy", normalize, saved(tmp_path, normalize), observations)


@pytest.mark.skipif(not THOROUGH, reason="those of old agents go the same way, and are divided too")
def test_images_are_normalised(tmp_path):
    space = spaces.Box(0, 255, (3, 36, 40), np.uint8)
    normalize = wrapped(space, ACTIONS)
    statistics = saved(tmp_path, normalize)
    compare(tmp_path, "CnnPolicy", normalize, statistics, samples(space, 10), normalize_images=False)


def test_images_of_old_agents_are_normalised_and_divided(tmp_path):
    normalize = wrapped(CAMERA, ACTIONS)
    statistics = changed(tmp_path, before_1_7, normalize)
    before_1_7(vars(normalize))
    environment = VecTransposeImage(normalize)
    compare(tmp_path, "CnnPolicy", normalize, statistics, samples(CAMERA, 10), environment)
