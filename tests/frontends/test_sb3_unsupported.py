"""
What a sound SB3 zip may hold that is not compiled: refused by name, everything at once.
"""

import base64
import functools

import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.crossq.policies import CrossQPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from sb3_contrib.tqc.policies import TQCPolicy
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy, MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.dqn.policies import CnnPolicy
from torch import nn

from compiler.errors import CheckpointError, UnsupportedError
from compiler.frontends.sb3 import families
from tests.frontends.checkpoints import pickled, refusal, with_arguments, zip_file
from tests.golden.agents import model_of

COMPILED = "this version compiles MLP policies of PPO, A2C, TRPO, DQN, SAC, TD3 and DDPG"


# What is not compiled.


@pytest.mark.parametrize(
    ("policy", "called"),
    [
        (ActorCriticCnnPolicy, "ActorCriticCnnPolicy (images)"),
        (MultiInputActorCriticPolicy, "MultiInputActorCriticPolicy (Dict observations)"),
        (CnnPolicy, "CnnPolicy (images)"),
        (MaskableActorCriticPolicy, "MaskableActorCriticPolicy (MaskablePPO)"),
        (RecurrentActorCriticPolicy, "RecurrentActorCriticPolicy (RecurrentPPO)"),
        (QRDQNPolicy, "QRDQNPolicy (QRDQN)"),
        (TQCPolicy, "TQCPolicy (TQC)"),
        (CrossQPolicy, "CrossQPolicy (CrossQ)"),
    ],
)
def test_other_policies_are_refused_by_name(policy, called, tmp_path):
    path = zip_file(tmp_path, "ppo_default", fields={"policy_class": pickled(policy)})
    with pytest.raises(UnsupportedError) as error:
        model_of(path)
    assert str(error.value) == f"{path}: policy_class: {called} is not compiled yet; {COMPILED}"


def test_every_class_of_the_tables_exists():
    for path in (*families.FAMILIES, *families.NOT_YET):
        module, _, name = path.rpartition(".")
        found = getattr(__import__(module, fromlist=[name]), name)
        assert (found.__module__, found.__name__) == (module, name)


def test_custom_policies_are_refused_by_name(tmp_path):
    class Custom(ActorCriticPolicy):  # type: ignore[misc]
        pass

    named = {"policy_class": {":serialized:": base64.b64encode(b"\x80\x04cmine\nPolicy\n.").decode()}}
    with pytest.raises(UnsupportedError, match=r"the policy class 'mine\.Policy' is not one of"):
        model_of(zip_file(tmp_path, "ppo_default", fields=named))
    by_value = {"policy_class": pickled(Custom)}
    with pytest.raises(UnsupportedError, match="a policy class of its own"):
        model_of(zip_file(tmp_path, "ppo_default", fields=by_value))


def test_unsupported_things_are_reported_at_once(tmp_path):
    arguments = {"activation_fn": nn.PReLU, "features_extractor_class": NatureCNN, "flavour": 3, "x\n": 4}
    fields = {
        "policy_kwargs": pickled(arguments),
        "observation_space": pickled(gymnasium.spaces.Discrete(4)),
        "action_space": pickled(gymnasium.spaces.MultiBinary(2)),
    }
    assert refusal(zip_file(tmp_path, "ppo_default", fields=fields), UnsupportedError) == [
        f"observation_space: Discrete observations; {COMPILED} on Box",
        "action_space: MultiBinary actions; policies of PPO, A2C, TRPO are compiled for Box or Discrete actions",
        "policy_kwargs.activation_fn: torch.nn.PReLU has learned parameters, which this version does not compile; "
        "retrain with one of torch.nn's activations without parameters",
        "policy_kwargs.flavour: not an argument of ActorCriticPolicy that is known",
        "policy_kwargs.'x\\n': not an argument of ActorCriticPolicy that is known",
        "policy_kwargs.features_extractor_class: the global 'stable_baselines3.common.torch_layers.NatureCNN'; "
        f"{COMPILED}, with FlattenExtractor",
    ]


def test_damage_and_unsupported_things_are_one_error(tmp_path):
    fields = {
        "policy_kwargs": {"normalize_images": "yes", "clip_mean": None, "flavour": 3},
        "action_space": pickled(gymnasium.spaces.Discrete(3)),
    }
    found = refusal(zip_file(tmp_path, "sac_default", fields=fields), CheckpointError)
    assert found == [
        "action_space: Discrete actions; policies of SAC are compiled for Box actions",
        "policy_kwargs.flavour: not an argument of SACPolicy that is known",
        "policy_kwargs.normalize_images: expected true or false, found str 'yes'",
        "policy_kwargs.clip_mean: expected a number, found None",
    ]


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (gymnasium.spaces.Box(-1, 1, (), np.float32), r"a Box of shape \(\), for which SB3's predict fails, too"),
        (gymnasium.spaces.Box(-1, 1, (1,) * 8, np.float32), "a Box of 8 dimensions; at most 7"),
        (gymnasium.spaces.MultiDiscrete([2, 2]), "MultiDiscrete observations"),
        (gymnasium.spaces.MultiBinary(4), "MultiBinary observations"),
        (gymnasium.spaces.Dict(a=gymnasium.spaces.Discrete(2)), "Dict observations"),
        (gymnasium.spaces.Tuple(()), "gymnasium.spaces.tuple.Tuple"),
    ],
)
def test_other_observations_are_refused_by_name(space, text, tmp_path):
    path = zip_file(tmp_path, "ppo_default", fields={"observation_space": pickled(space)})
    with pytest.raises(UnsupportedError, match=text):
        model_of(path)


def test_sb3_cannot_predict_for_scalar_observations():
    """
    Why observations of shape () are refused: a policy for them can be made, but not asked.
    """
    space = gymnasium.spaces.Box(-1, 1, (), np.float32)
    policy = ActorCriticPolicy(space, gymnasium.spaces.Discrete(2), lambda _: 0.0)
    with pytest.raises(IndexError):
        policy.predict(np.float32(0.5))


def test_seven_dimensions_are_compiled(tmp_path):
    space = gymnasium.spaces.Box(-1, 1, (1, 1, 2, 1, 2, 1, 1), np.float32)
    model = model_of(zip_file(tmp_path, "ppo_default", fields={"observation_space": pickled(space)}))
    assert model.tensors["observation"].shape == ("batch", 1, 1, 2, 1, 2, 1, 1)


def test_squashing_needs_finite_bounds(tmp_path):
    space = gymnasium.spaces.Box(np.array([-1, -np.inf, 0]), np.array([1, 1, 1]), dtype=np.float64)
    for name in ("sac_clipped_mean", "td3_default", "ppo_squashed"):
        path = zip_file(tmp_path, name, fields={"action_space": pickled(space)})
        assert refusal(path) == ["the action space of a squashed policy has an infinite bound"]


# The activation.


def test_partials_and_defaults_are_known(tmp_path):
    path = with_arguments(tmp_path, activation_fn=functools.partial(nn.LeakyReLU, negative_slope=0.25))
    assert model_of(path).nodes[2].attributes == {"negative_slope": 0.25}
    assert model_of(with_arguments(tmp_path)).nodes[2].op == "tanh"
    assert model_of(with_arguments(tmp_path, "dqn_default")).nodes[2].op == "relu"


def test_a_lambda_is_refused_by_name_unless_the_user_knows_it(tmp_path):
    path = with_arguments(tmp_path, activation_fn=lambda: nn.ELU(0.5))
    (finding,) = refusal(path, UnsupportedError)
    assert finding.startswith("policy_kwargs.activation_fn: '<function test_a_lambda")
    assert finding.endswith("<lambda>>' can't be known from the file; pass --activation relu|tanh|...")
    model = model_of(path, strict=True, activation="ELU(0.5)")
    assert (model.nodes[2].op, model.nodes[2].attributes) == ("elu", {"alpha": 0.5})


def test_a_custom_activation_is_refused_by_name(tmp_path):
    class Swish(nn.Module):  # type: ignore[misc]
        pass

    (finding,) = refusal(with_arguments(tmp_path, activation_fn=Swish), UnsupportedError)
    assert "Swish" in finding
    without_text = {"policy_kwargs": pickled({"activation_fn": torch.tanh})}
    (finding,) = refusal(zip_file(tmp_path, "ppo_default", fields=without_text), UnsupportedError)
    assert "can't be known from the file" in finding
