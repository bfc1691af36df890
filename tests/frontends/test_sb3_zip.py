"""
What the fields of an SB3 zip may hold, and that everything wrong with them is reported at once.
"""

import base64
import hashlib
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from stable_baselines3.common.torch_layers import FlattenExtractor

from compiler.errors import CheckpointError, UnsupportedError
from compiler.ir import Box, Discrete
from tests.frontends.checkpoints import members, pickled, refusal, with_arguments, zip_file
from tests.golden.agents import model_of


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
        ("latent", "distribution"),
        ("noise_std", "distribution"),
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
    (assumption,) = model_of(zip_file(tmp_path, "ppo_default", fields=field)).origin.assumptions
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
    expected = r"expected the \.zip that Stable-Baselines3's model\.save\(\) writes.*; found a zip archive of "
    with pytest.raises(CheckpointError, match=f"{expected}'hello.txt'$"):
        model_of(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("logs/data", "{}")
    with pytest.raises(CheckpointError, match="without the folder 'logs' around them"):
        model_of(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("logs/best.zip", "an agent")
    with pytest.raises(
        CheckpointError, match=f"{expected}'hello.txt', 'logs/data', 'logs/best.zip'; take 'logs/best.zip' out of it"
    ):
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
