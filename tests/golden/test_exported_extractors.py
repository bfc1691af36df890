"""
Policies with a features extractor of the user's own, whose graph is given as a .pt2 file, against SB3's `predict`.
"""

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch.export import Dim, export, save
from torch.utils import _pytree as pytree

import compiler
from compiler import frontends
from compiler.errors import BuildError, CheckpointError, PolicycError, UnsupportedError
from compiler.frontends.torch_export.quiet import quietly
from compiler.options import BuildOptions
from tests.thorough import chosen

OBSERVATIONS = 20
VECTOR = spaces.Box(-1, 1, (12,))
IMAGE = spaces.Box(0, 255, (2, 16, 16), np.uint8)
PARTS = spaces.Dict({"vec": spaces.Box(-1, 1, (3,)), "seq": spaces.Box(-2, 2, (2, 8)), "kind": spaces.Discrete(4)})
CHOICE, CONTINUOUS = spaces.Discrete(3), spaces.Box(-2, 2, (2,))


class World(gymnasium.Env):  # type: ignore[misc]
    """
    Spaces, and nothing that happens in them.
    """

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space


class Attention(BaseFeaturesExtractor):  # type: ignore[misc]
    """
    Four entities of three numbers that look at each other.
    """

    def __init__(self, space: spaces.Space, features_dim: int = 12) -> None:
        super().__init__(space, features_dim)
        self.up, self.norm, self.out = nn.Linear(3, 8), nn.LayerNorm(8), nn.Linear(8, features_dim)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.up(x.view(-1, 4, 3)))
        y = y + self.attention(y, y, y, need_weights=False)[0]
        return torch.relu(self.out(y.mean(1)))


class Pictures(BaseFeaturesExtractor):  # type: ignore[misc]
    """
    A small convolutional network with batch norm and pooling.
    """

    def __init__(self, space: spaces.Space, features_dim: int = 10) -> None:
        super().__init__(space, features_dim)
        first = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*first, nn.Flatten(), nn.Linear(256, features_dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Mixed(BaseFeaturesExtractor):  # type: ignore[misc]
    """
    A sequence through a convolution and an LSTM, a vector and a choice.
    """

    def __init__(self, space: spaces.Space, features_dim: int = 9) -> None:
        super().__init__(space, features_dim)
        self.look, self.remember = nn.Conv1d(2, 4, 3), nn.LSTM(4, 5, batch_first=True)
        self.out = nn.Linear(5 + 3 + 4, features_dim)

    def forward(self, parts: dict[str, Tensor]) -> Tensor:
        seen, _ = self.remember(self.look(parts["seq"]).transpose(1, 2))
        return torch.tanh(self.out(torch.cat((seen[:, -1], parts["vec"], parts["kind"]), 1)))


AGENTS: dict[str, Any] = {
    "ppo_box": (PPO, "MlpPolicy", VECTOR, CONTINUOUS, Attention, {}),
    "a2c_apart": (A2C, "MlpPolicy", VECTOR, CHOICE, Attention, {"share_features_extractor": False}),
    "dqn_box": (DQN, "MlpPolicy", VECTOR, CHOICE, Attention, {}),
    "sac_box": (SAC, "MlpPolicy", VECTOR, CONTINUOUS, Attention, {}),
    "ppo_image": (PPO, "CnnPolicy", IMAGE, CHOICE, Pictures, {}),
    "dqn_image": (DQN, "CnnPolicy", IMAGE, CHOICE, Pictures, {}),
    "ppo_dict": (PPO, "MultiInputPolicy", PARTS, CONTINUOUS, Mixed, {}),
    "sac_dict": (SAC, "MultiInputPolicy", PARTS, CONTINUOUS, Mixed, {}),
}
COMPILED = ("ppo_image",)


def randomised(module: nn.Module) -> None:
    """
    Adds to all weights, biases and statistics, so that none is zero or one.
    """
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            if value.is_floating_point():
                value.add_(
                    0.2 * torch.rand_like(value) if name.endswith("running_var") else 0.2 * torch.randn_like(value)
                )


def agent_of(name: str, *, fresh: bool = False) -> Any:
    algorithm, policy, observations, actions, extractor, arguments = AGENTS[name]
    torch.manual_seed(0)
    more = {"buffer_size": 10} if algorithm in (DQN, SAC) else {}
    arguments = {"features_extractor_class": extractor, **arguments}
    with warnings.catch_warnings(action="ignore"):
        agent = algorithm(policy, World(observations, actions), policy_kwargs=arguments, device="cpu", **more)
    if not fresh:
        randomised(agent.policy)
    agent.policy.set_training_mode(False)
    return agent


def extractor_of(agent: Any) -> nn.Module:
    owner = {SAC: "actor", DQN: "q_net"}.get(type(agent))
    return (agent.policy if owner is None else getattr(agent.policy, owner)).features_extractor


def saved(agent: Any, folder: Path, *, dynamic: bool = True) -> tuple[Path, BuildOptions]:
    """
    The agent's file, and the options with the file of its features extractor.
    """
    space = agent.observation_space
    torch.manual_seed(1)
    space.seed(1)
    given = preprocess_obs(agent.policy.obs_to_tensor(space.sample())[0], space, normalize_images=True)
    shapes = None
    if dynamic:
        given = pytree.tree_map(lambda value: torch.cat((value, value)), given)
        batch = Dim("batch")
        shapes = (pytree.tree_map(lambda value: {0: batch}, given),)
    agent.save(folder / "agent.zip")
    with quietly():
        save(export(extractor_of(agent), (given,), dynamic_shapes=shapes), folder / "extractor.pt2")
    return folder / "agent.zip", BuildOptions(extractor=str(folder / "extractor.pt2"), verify_observations=100)


@pytest.mark.slow
@pytest.mark.parametrize("fresh", chosen((False, True), False))
@pytest.mark.parametrize("name", chosen(AGENTS, *COMPILED))
def test_the_predictor_acts_as_the_agent_does(name, fresh, tmp_path):
    agent = agent_of(name, fresh=fresh)
    path, options = saved(agent, tmp_path)
    predictor = compiler.build(path, out=tmp_path, name=name, options=options).load()
    space = agent.observation_space
    single = [space.sample() for _ in range(OBSERVATIONS)]
    batch: Any = np.stack(single) if not isinstance(space, spaces.Dict) else {}
    for key in space.spaces if isinstance(space, spaces.Dict) else ():
        batch[key] = np.stack([one[key] for one in single])
    right, _ = agent.predict(batch, deterministic=True)
    found, _ = predictor.predict(batch)
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-5 * 4)
    for one, wanted in zip(single, right, strict=True):
        np.testing.assert_allclose(predictor.predict(one)[0], wanted, rtol=0, atol=1e-5 * 4)


@pytest.mark.parametrize("name", AGENTS)
def test_the_value_is_that_of_the_critics_own_extractor(name, tmp_path):
    """
    Without a package: the graph that is read, computed by the reference.
    """
    agent = agent_of(name)
    path, options = saved(agent, tmp_path, dynamic=name != "ppo_box")
    model = frontends.read(path, options)
    roles = {output.role: output.tensor for output in model.outputs}
    if "value" not in roles:
        assert type(agent) in (DQN, SAC)
        return
    observation = agent.observation_space.sample()
    tensors, _ = agent.policy.obs_to_tensor(observation)
    with torch.no_grad():
        right = agent.policy.predict_values(tensors).numpy()
    given = {f"observation.{key}": value for key, value in tensors.items()} if isinstance(tensors, dict) else None
    given = {"observation": tensors} if given is None else given
    values = compiler.ops.reference.evaluate(model, {key: value.numpy() for key, value in given.items()})
    np.testing.assert_allclose(values[roles["value"]].reshape(-1), right.reshape(-1), rtol=1e-4, atol=1e-5)


def refused(path: Path, options: BuildOptions, kind: type[PolicycError]) -> str:
    with pytest.raises(kind) as caught:
        frontends.read(path, options)
    return str(caught.value)


def test_without_the_file_the_way_out_is_named(tmp_path):
    path, _ = saved(agent_of("ppo_box"), tmp_path)
    text = refused(path, BuildOptions(), UnsupportedError)
    assert "--extractor extractor.pt2" in text
    assert "model.policy.features_extractor" in text


def test_other_weights_are_refused_by_name(tmp_path):
    agent = agent_of("ppo_box")
    path, options = saved(agent, tmp_path)
    with torch.no_grad():
        extractor_of(agent).up.bias.add_(1)
    agent.save(path)
    text = refused(path, options, CheckpointError)
    assert "has other weights than the checkpoint in 'pi_features_extractor.up.bias'" in text
    assert "norm" not in text


def test_a_graph_of_something_else_is_refused(tmp_path):
    path, options = saved(agent_of("ppo_box"), tmp_path)
    with quietly():
        save(export(nn.Linear(12, 12), (torch.zeros(1, 12),)), tmp_path / "extractor.pt2")
    assert "has none of the checkpoint's" in refused(path, options, CheckpointError)


def test_another_shape_is_refused(tmp_path):
    agent = agent_of("ppo_box")
    path, options = saved(agent, tmp_path)
    with quietly():
        save(export(extractor_of(agent), (torch.zeros(1, 4, 3),)), tmp_path / "extractor.pt2")
    assert "takes the observation in the shape (4, 3); SB3 gives it (12,)" in refused(path, options, UnsupportedError)


def test_another_dtype_is_refused(tmp_path):
    agent = agent_of("dqn_image")
    path, options = saved(agent, tmp_path)

    class OfBytes(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = extractor_of(agent).layers

        def forward(self, image: Tensor) -> Tensor:
            return self.layers(image.float() / 255)

    with quietly():
        save(export(OfBytes(), (torch.zeros(1, 2, 16, 16, dtype=torch.uint8),)), tmp_path / "extractor.pt2")
    assert "takes uint8; SB3 gives it float32, of images too" in refused(path, options, UnsupportedError)


def test_other_parts_are_refused(tmp_path):
    agent = agent_of("ppo_dict")
    path, options = saved(agent, tmp_path)

    class Less(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.out = extractor_of(agent).out

        def forward(self, parts: dict[str, Tensor]) -> Tensor:
            return self.out(torch.cat((parts["vec"], parts["vec"], parts["vec"], parts["vec"]), 1))

    with quietly():
        save(export(Less(), ({"vec": torch.zeros(1, 3)},)), tmp_path / "extractor.pt2")
    assert "takes 'vec'; SB3 gives it 'kind', 'seq', 'vec'" in refused(path, options, UnsupportedError)


def test_an_extractor_of_sb3_needs_no_file(tmp_path):
    path, options = saved(agent_of("ppo_box"), tmp_path)
    plain = PPO("MlpPolicy", World(VECTOR, CHOICE), device="cpu")
    plain.save(path)
    assert "leave --extractor out" in refused(path, options, BuildError)
