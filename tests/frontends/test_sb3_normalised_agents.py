"""
Agents that were trained with VecNormalize: what is compiled of both files is what SB3 computes with both.
"""

import hashlib

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import ARS, MaskablePPO
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.vec_env import VecTransposeImage

from compiler.errors import BuildError, CheckpointError, UnsupportedError
from compiler.frontends.sb3.vecnormalize import STATISTICS_UNKNOWN
from compiler.ir import DType
from compiler.ops.reference import evaluate
from tests.frontends.checkpoints import bare_file, pickled, zip_file
from tests.frontends.vecnormalize_files import CAMERA, PARTS, before_1_7, changed, normalizing, saved, wrapped
from tests.golden.agents import model_of

COUNT = 200
ACTIONS = spaces.Box(-1, 1, (3,))


def agent_of(folder, algorithm, policy, normalize, **arguments):
    """
    An agent of random weights and biases that sees what VecNormalize gives, saved.
    """
    agent = algorithm(policy, normalize, seed=1, device="cpu", **arguments)
    with torch.no_grad():
        for parameter in agent.policy.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    path = folder / "agent.zip"
    agent.save(path)
    return agent, path


def samples(space, count=COUNT, seed=3):
    space.seed(seed)
    drawn = [space.sample() for _ in range(count)]
    return {key: np.stack([one[key] for one in drawn]) for key in drawn[0]} if isinstance(drawn[0], dict) else drawn


def actions_of(model, **inputs):
    return evaluate(model, inputs)[model.output("action").tensor]


def assert_same_actions(model, inputs, agent, normalised):
    expected, _ = agent.predict(normalised, deterministic=True)
    found = actions_of(model, **inputs)
    if expected.dtype.kind == "i":
        assert len(np.unique(expected)) > 1
        assert (found == expected).mean() > 0.99
    else:
        assert (expected.std(axis=0) > 1e-3).any()
        np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=2e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_observations_are_normalised_before_anything_else(tmp_path, dtype):
    normalize = normalizing(-3, 2, 4, dtype=dtype, clip_obs=1.0)
    agent, path = agent_of(tmp_path, PPO, "MlpPolicy", normalize)
    statistics = saved(tmp_path, normalize)
    model = model_of(path, vecnormalize=str(statistics), strict=True)
    observations = np.stack(samples(normalize.observation_space))
    inputs = {"observation": observations.astype(np.float64)}
    assert_same_actions(model, inputs, agent, normalize.normalize_obs(observations))
    assert model.tensors["observation"].dtype is DType.FLOAT64
    assert model.tensors["vecnormalize.mean"].shape == (2, 4)
    assert model.tensors["vecnormalize.deviation"].dtype is DType.FLOAT64
    assert model.nodes[0].op == "normalize"
    assert model.nodes[0].attributes == {"clip": 1.0}
    assert model.tensors[model.nodes[0].outputs[0]].dtype is DType.FLOAT32
    assert model.origin.vecnormalize == hashlib.sha256(statistics.read_bytes()).hexdigest()
    assert model.origin.assumptions == ()


@pytest.mark.parametrize("keys", [["speed"], ["speed", "counts"]])
def test_the_named_parts_of_a_dict_are_normalised(tmp_path, keys):
    normalize = wrapped(PARTS, norm_obs_keys=keys)
    agent, path = agent_of(tmp_path, A2C, "MultiInputPolicy", normalize)
    model = model_of(path, vecnormalize=str(saved(tmp_path, normalize)))
    space = spaces.Dict({**PARTS.spaces, "speed": spaces.Box(-9, 9, (4,), np.float64)})
    observations = samples(space)
    kinds = {"camera": np.float32, "counts": np.float32, "speed": np.float32, "switch": np.int64}
    kinds |= dict.fromkeys(keys, np.float64)
    inputs = {f"observation.{key}": values.astype(kinds[key]) for key, values in observations.items()}
    inputs["observation.camera"] = inputs["observation.camera"].transpose(0, 3, 1, 2)
    assert_same_actions(model, inputs, agent, normalize.normalize_obs(observations))
    for name in model.inputs:
        assert model.tensors[name].dtype.numpy == kinds[name.removeprefix("observation.")]
    assert [node.name for node in model.nodes if node.op == "normalize"] == [
        f"vecnormalize.{key}" for key in PARTS.spaces if key in keys
    ]


def test_images_are_not_divided_by_255_where_vecnormalize_says_that_they_are_floats(tmp_path):
    normalize = wrapped(spaces.Box(0, 255, (3, 36, 40), np.uint8), ACTIONS)
    agent, path = agent_of(tmp_path, PPO, "CnnPolicy", normalize, policy_kwargs={"normalize_images": False})
    model = model_of(path, vecnormalize=str(saved(tmp_path, normalize)))
    assert not any(node.op == "divide" for node in model.nodes)
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 36, 40), np.uint8)
    inputs = {"observation": images.astype(np.float64)}
    assert_same_actions(model, inputs, agent, normalize.normalize_obs(images))


def test_images_are_divided_by_255_as_well_in_agents_of_before_1_7(tmp_path):
    normalize = wrapped(CAMERA, ACTIONS)
    path = changed(tmp_path, before_1_7, normalize)
    before_1_7(vars(normalize))
    agent, checkpoint = agent_of(tmp_path, PPO, "CnnPolicy", VecTransposeImage(normalize))
    model = model_of(checkpoint, vecnormalize=str(path))
    assert [node.op for node in model.nodes][:2] == ["normalize", "divide"]
    images = np.random.default_rng(0).integers(0, 256, (20, 36, 40, 3), np.uint8)
    inputs = {"observation": images.transpose(0, 3, 1, 2).astype(np.float64)}
    assert_same_actions(model, inputs, agent, normalize.normalize_obs(images))


def test_where_only_rewards_are_normalised_observations_are_left_alone(tmp_path):
    normalize = normalizing(norm_obs=False)
    agent, path = agent_of(tmp_path, PPO, "MlpPolicy", normalize)
    agent._setup_learn(1)
    agent.save(path)
    statistics = saved(tmp_path, normalize)
    model = model_of(path, vecnormalize=str(statistics), strict=True)
    assert model.origin.vecnormalize
    assert model.origin.assumptions == ()
    assert model.tensors["observation"].dtype is DType.FLOAT32
    assert not any(node.op == "normalize" for node in model.nodes)


@pytest.mark.parametrize("algorithm", [PPO, A2C, ARS, MaskablePPO])
def test_an_agent_shows_that_it_was_trained_with_vecnormalize(tmp_path, algorithm):
    normalize = normalizing()
    agent, path = agent_of(tmp_path, algorithm, "MlpPolicy", normalize)
    agent._setup_learn(1)
    agent.save(path)
    assert STATISTICS_UNKNOWN in model_of(path).origin.assumptions
    with pytest.raises(UnsupportedError, match=r"trained with VecNormalize.*--vecnormalize FILE"):
        model_of(path, strict=True)
    known = model_of(path, strict=True, vecnormalize=str(saved(tmp_path, normalize)))
    assert STATISTICS_UNKNOWN not in known.origin.assumptions


def test_others_do_not_show_it(tmp_path):
    field = {"_last_original_obs": pickled(np.zeros(4))}
    assert model_of(zip_file(tmp_path, "dqn_default", fields=field)).origin.assumptions == ()
    _, path = agent_of(tmp_path, SAC, "MlpPolicy", wrapped(spaces.Box(-1, 1, (3,)), ACTIONS))
    assert model_of(path, strict=True).origin.assumptions == ()


def test_strict_tells_of_the_statistics_with_everything_else(tmp_path):
    fields = {"_last_original_obs": pickled(np.zeros(4)), "policy_kwargs": pickled({"nonsense": 1})}
    with pytest.raises(UnsupportedError) as refused:
        model_of(zip_file(tmp_path, "ppo_default", fields=fields), strict=True)
    assert STATISTICS_UNKNOWN in refused.value.findings
    assert any("nonsense" in finding for finding in refused.value.findings)


def test_a_bare_policy_is_normalised_as_well(tmp_path):
    path = saved(tmp_path, normalizing(-3, 4))
    model = model_of(bare_file(tmp_path, "ppo_default"), vecnormalize=str(path))
    assert model.nodes[0].op == "normalize"
    assert model.origin.vecnormalize == hashlib.sha256(path.read_bytes()).hexdigest()


def test_statistics_of_other_observations_are_refused_with_both_names(tmp_path):
    path, agent = saved(tmp_path, normalizing(-3, 5)), zip_file(tmp_path, "ppo_default")
    with pytest.raises(BuildError) as refused:
        model_of(agent, vecnormalize=str(path))
    message = str(refused.value)
    assert str(path) in message
    assert str(agent) in message
    assert "Box of shape (5,), not for Box of shape (4,)" in message


def test_a_file_that_is_not_of_vecnormalize_is_refused_by_its_own_name(tmp_path):
    agent = zip_file(tmp_path, "ppo_default")
    with pytest.raises(CheckpointError, match=r"agent\.zip: is not a pickle; expected the pickle that"):
        model_of(agent, vecnormalize=str(agent))


def test_no_tensor_of_a_checkpoint_takes_the_name_of_a_statistic(tmp_path):
    def rename(state):
        state["vecnormalize.mean"] = torch.ones(3)

    with pytest.raises(CheckpointError, match=r"'vecnormalize\.mean': no policy has a tensor of this name"):
        model_of(zip_file(tmp_path, "ppo_default", rename))
