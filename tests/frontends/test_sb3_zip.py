"""
What the fields of an SB3 zip may hold, and that everything wrong with them is reported at once.
"""

import base64
import functools
import hashlib
import json
import pickle
import zipfile

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
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from stable_baselines3.dqn.policies import CnnPolicy
from torch import nn

from compiler.errors import BuildError, CheckpointError, UnsupportedError
from compiler.frontends.sb3 import families
from compiler.ir import Box, Discrete
from tests.frontends.checkpoints import members, pickled, refusal, zip_file
from tests.golden.agents import model_of

COMPILED = "this version compiles MLP policies of PPO, A2C, TRPO, DQN, SAC, TD3 and DDPG"


def test_the_graph_is_a_faithful_translation(tmp_path):
    model = model_of(zip_file(tmp_path, "sac_clipped_mean"))
    assert [(node.op, node.name) for node in model.nodes] == [
        ("flatten", "actor.features_extractor.flatten"),
        ("linear", "actor.latent_pi.0"),
        ("relu", "actor.latent_pi.1"),
        ("linear", "actor.latent_pi.2"),
        ("relu", "actor.latent_pi.3"),
        ("linear", "actor.mu.0"),
        ("hardtanh", "actor.mu.1"),
        ("tanh", "action_dist.mode"),
        ("rescale", "unscale_action"),
    ]
    assert model.nodes[6].attributes == {"min_val": -2.0, "max_val": 2.0}
    assert [(output.name, output.role) for output in model.outputs] == [
        ("mean_actions", "scores"),
        ("action", "action"),
    ]
    assert model.output("scores").tensor == "actor.mu.1"


@pytest.mark.parametrize(
    ("name", "ops"),
    [
        ("ppo_no_layers", ["flatten", "linear", "softmax", "argmax", "linear"]),
        ("ppo_image", ["divide", "flatten", *["linear", "tanh"] * 2, "linear", "softmax", "argmax"]),
        ("ppo_raw_image", ["flatten", *["linear", "tanh"] * 2, "linear", "softmax", "argmax"]),
        ("ppo_box", ["flatten", *["linear", "tanh"] * 2, "linear", "clip"]),
        ("ppo_squashed", ["flatten", *["linear", "tanh"] * 2, "linear", "tanh", "rescale"]),
        ("dqn_no_layers", ["flatten", "linear", "argmax"]),
        ("dqn_identity", ["flatten", *["linear"] * 3, "argmax"]),
        ("sac_no_layers", ["flatten", "linear", "tanh", "rescale"]),
        ("sac_unclipped", ["flatten", "linear", "relu", "linear", "tanh", "rescale"]),
        ("td3_no_layers", ["flatten", "linear", "tanh", "rescale"]),
        ("ddpg_default", ["flatten", "linear", "relu", "linear", "tanh", "rescale"]),
    ],
)
def test_every_branch_has_its_ops(name, ops, tmp_path):
    model = model_of(zip_file(tmp_path, name))
    assert [node.op for node in model.nodes][: len(ops)] == ops


def test_the_origin_says_what_the_file_is(tmp_path):
    path = zip_file(tmp_path, "td3_default")
    model = model_of(path)
    assert model.origin.file == "agent.zip"
    assert model.origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.origin.format == "sb3-zip"
    assert model.origin.versions[0][0] == "stable_baselines3"
    assert model.origin.assumptions == ()
    assert model.name == "agent"
    assert model.policy.kind == "TD3Policy"


@pytest.mark.parametrize(("text", "kept"), [(b"2.3.0a1\n", "2.3.0a1"), (b"\x1b[2J", None), (b"1" * 90, None)])
def test_only_a_version_is_taken_for_one(text, kept, tmp_path):
    model = model_of(zip_file(tmp_path, "ppo_default", _stable_baselines3_version=text))
    assert model.origin.versions == ((("stable_baselines3", kept),) if kept else ())


def test_a_file_without_version_is_read(tmp_path):
    path = zip_file(tmp_path, "ppo_default", _stable_baselines3_version=None)
    assert model_of(path).origin.versions == ()


def test_the_name_of_the_file_does_not_matter(tmp_path):
    path = zip_file(tmp_path, "ppo_default")
    renamed = path.rename(tmp_path / "agent.pth")
    assert model_of(renamed).origin.format == "sb3-zip"


def test_vecnormalize_is_noticed_for_on_policy_agents_alone(tmp_path):
    field = {"_last_original_obs": pickled(np.zeros(4))}
    (assumption,) = model_of(zip_file(tmp_path, "ppo_default", fields=field), strict=True).origin.assumptions
    assert "VecNormalize" in assumption
    assert model_of(zip_file(tmp_path, "dqn_default", fields=field)).origin.assumptions == ()


def test_old_squashing_without_sde_rescales_without_tanh(tmp_path):
    fields = {"policy_kwargs": {"squash_output": True, "net_arch": {"pi": [32, 8], "vf": [7]}}}
    model = model_of(zip_file(tmp_path, "ppo_box", fields=fields))
    assert [node.op for node in model.nodes if node.op in ("tanh", "rescale", "clip")] == [
        "tanh",
        "tanh",
        "rescale",
        "tanh",
    ]


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


def with_arguments(folder, name="ppo_default", **arguments):
    """
    The zip of an agent with other policy_kwargs, as SB3 writes them.
    """
    texts = {key: str(value) for key, value in arguments.items()}
    return zip_file(folder, name, fields={"policy_kwargs": pickled(arguments, **texts)})


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


# Options beside a file that knows better.

SAME = {
    "activation": "Tanh()",
    "observation_shape": (4,),
    "observation_dtype": "float32",
    "action_kind": "box",
    "action_low": (-0.4,),
    "action_high": (0.4,) * 6,
    "squash_output": False,
    "normalize_images": True,
    "clip_mean": 2.0,
}
OTHER = {
    "activation": "ReLU",
    "observation_shape": (2, 2),
    "observation_dtype": "float64",
    "action_kind": "discrete",
    "action_low": (-0.5,),
    "action_high": (0.4, 0.4, 0.4, 0.4, 0.4, 0.5),
    "squash_output": True,
    "normalize_images": False,
    "clip_mean": 1.0,
}


def test_options_that_agree_with_the_file_are_accepted(tmp_path):
    path = zip_file(tmp_path, "ppo_box")
    assert model_of(path, **SAME).nodes == model_of(path).nodes


@pytest.mark.parametrize("name", OTHER)
def test_options_that_contradict_the_file_are_refused(name, tmp_path):
    path = zip_file(tmp_path, "ppo_box")
    (finding,) = refusal(path, BuildError, **{name: OTHER[name]})
    assert finding.startswith(f"--{name.replace('_', '-')} ")
    assert "contradicts the file" in finding


def test_all_contradictions_are_reported_at_once(tmp_path):
    assert len(refusal(zip_file(tmp_path, "ppo_box"), BuildError, **OTHER)) == len(OTHER)


def test_malformed_options_are_refused_beside_a_zip_too(tmp_path):
    path = zip_file(tmp_path, "ppo_box")
    found = refusal(path, BuildError, activation="swish", action_low=(1.0, 2.0), action_high=(np.nan,))
    assert len(found) == 3
    assert "activation must be one of" in found[0]
    assert found[1] == "options: --action-low has 2 values; there are 6 actions"
    assert found[2] == "options: --action-high is NaN"


def test_bounds_have_no_meaning_for_discrete_actions(tmp_path):
    path = zip_file(tmp_path, "ppo_default")
    (finding,) = refusal(path, BuildError, action_low=(0.0,))
    assert "--action-low" in finding


def test_squash_output_agrees_with_families_that_always_squash(tmp_path):
    assert model_of(zip_file(tmp_path, "td3_default"), squash_output=True)
    assert refusal(zip_file(tmp_path, "td3_default"), BuildError, squash_output=False)


# Damage.


def test_missing_fields_are_reported_at_once(tmp_path):
    path = zip_file(tmp_path, "ppo_default", fields={"policy_class": ..., "action_space": ...})
    assert refusal(path) == ["the member 'data' has no policy_class", "the member 'data' has no action_space"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 200_000, "is not JSON"),
        (b"1" * 5000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"{}", "has no policy_class"),
    ],
)
def test_damaged_data_is_refused(content, text, tmp_path):
    with pytest.raises(CheckpointError, match=text):
        model_of(zip_file(tmp_path, "ppo_default", data=content))


def test_data_beyond_the_limit_is_refused(tmp_path):
    content = b'{"a": "' + b"x" * (32 << 20) + b'"}'
    with pytest.raises(CheckpointError, match=r"at most 33,554,432 are read"):
        model_of(zip_file(tmp_path, "ppo_default", data=content))


def test_data_of_too_many_values_is_refused(tmp_path):
    content = b"[" + b"[[]]," * 300_000 + b"[]]"
    with pytest.raises(CheckpointError, match="the member 'data' is not a JSON object"):
        model_of(zip_file(tmp_path, "ppo_default", data=content))
    with pytest.raises(CheckpointError, match="more than 1,000,000 values"):
        model_of(zip_file(tmp_path, "ppo_default", data=content.replace(b"[[]]", b"[[[]]]")))


@pytest.mark.parametrize("content", ["!", "gAWV", "é", 3, None, ["gA=="]])
def test_damaged_pickles_are_refused(content, tmp_path):
    path = zip_file(tmp_path, "ppo_default", fields={"action_space": {":serialized:": content}})
    (finding,) = refusal(path)
    assert finding.startswith("data: action_space: ")


@pytest.mark.parametrize("value", [[1], "{}", 3, {":serialized:": base64.b64encode(pickle.dumps({1: 2})).decode()}])
def test_policy_kwargs_must_be_arguments(value, tmp_path):
    with pytest.raises(CheckpointError, match="policy_kwargs"):
        model_of(zip_file(tmp_path, "ppo_default", fields={"policy_kwargs": value}))


def test_policy_kwargs_may_be_null_or_name_defaults(tmp_path):
    plain = model_of(zip_file(tmp_path, "ppo_default"))
    for arguments in (None, {}, {"net_arch": None, "activation_fn": None}):
        path = zip_file(tmp_path, "ppo_default", fields={"policy_kwargs": arguments})
        assert model_of(path).nodes == plain.nodes
    path = with_arguments(tmp_path, features_extractor_class=FlattenExtractor, optimizer_class=torch.optim.AdamW)
    assert model_of(path).nodes == plain.nodes


class Trap:
    """
    A value whose loading would leave a trace.
    """

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["policy_class", "policy_kwargs", "observation_space", "action_space"])
def test_needed_fields_are_never_executed(name, tmp_path):
    trace = tmp_path / "trace"
    path = zip_file(tmp_path, "ppo_default", fields={name: pickled(Trap(trace))})
    with pytest.raises((CheckpointError, UnsupportedError), match=r"io\.open"):
        model_of(path)
    assert not trace.exists()


def test_other_fields_are_not_looked_at(tmp_path):
    trace = tmp_path / "trace"
    fields = {"lr_schedule": pickled(Trap(trace)), "_last_obs": {":serialized:": "!"}, "use_sde": "perhaps"}
    assert model_of(zip_file(tmp_path, "ppo_default", fields=fields))
    assert not trace.exists()


@pytest.mark.parametrize(("replaced", "missing"), [({"data": None}, "'data'"), ({"policy_pth": None}, "'policy.pth'")])
def test_missing_members_are_named(replaced, missing, tmp_path):
    path = zip_file(tmp_path, "ppo_default", **replaced)
    with pytest.raises(CheckpointError, match=f"the archive has no {missing}"):
        model_of(path)


def test_damage_of_both_members_is_one_error(tmp_path):
    found = refusal(zip_file(tmp_path, "ppo_default", fields={"action_space": ...}, policy_pth=b"not a file of torch"))
    assert len(found) == 2
    assert found[1].startswith("policy.pth: ")


@pytest.mark.parametrize("content", [b"x", b"\x80\x04.", b"\x93NUMPY", b"PK\x05\x06" + bytes(18), b"\x08" * 100])
def test_what_is_no_checkpoint_is_refused(content, tmp_path):
    path = tmp_path / "agent.zip"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"expected the \.zip that|zip"):
        model_of(path)


def test_another_archive_is_refused(tmp_path):
    path = tmp_path / "agent.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(CheckpointError, match=r"expected the \.zip that Stable-Baselines3's model\.save\(\) writes"):
        model_of(path)


def test_spaces_are_those_of_the_file(tmp_path):
    policy = model_of(zip_file(tmp_path, "ppo_float64_bounds")).policy
    assert isinstance(policy.action_space, Box)
    assert policy.action_space.low.dtype == np.float64
    assert policy.observation_space.shape == (2, 3, 4)
    assert model_of(zip_file(tmp_path, "ppo_default")).policy.action_space == Discrete(2)


def test_the_pickle_counts_and_not_the_text_beside_it(tmp_path):
    field = json.loads(members("ppo_default")["data"])["action_space"] | {"n": "99"}
    model = model_of(zip_file(tmp_path, "ppo_default", fields={"action_space": field}))
    assert model.policy.action_space == Discrete(2)
