"""
What older versions of SB3, sb3_contrib, gym and torch wrote: other names of modules, tensors and arguments.
"""

import base64
import functools
import io
import json
import zipfile
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from compiler.errors import CheckpointError
from compiler.ops.reference import evaluate
from tests.frontends.checkpoints import bare_file, members, refusal, state_of, zip_file
from tests.golden.agents import flat, inputs_of, make, model_of, observations_for
from tests.golden.compare import assert_same_scores
from tests.golden.expected import expected_of, given_for


@pytest.fixture
def today(tmp_path):
    """
    A folder for today's form of a file: models look into the files that they were read from, which must not change.
    """
    folder = tmp_path / "today"
    folder.mkdir()
    return folder


def legacy_zip(folder, name):
    """
    The zip of a golden agent whose policy.pth is the stream of torch before 1.6.
    """
    path, buffer = folder / "old.zip", io.BytesIO()
    torch.save(state_of(name), buffer, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members(name).items():
            archive.writestr(member, buffer.getvalue() if member == "policy.pth" else content)
    return path


@pytest.mark.parametrize("name", ["ppo_dict", "recurrent_two_layers", "crossq_default", "dqn_cnn"])
def test_the_old_stream_of_torch_is_read_from_a_zip(name, tmp_path, today):
    old, new = model_of(legacy_zip(tmp_path, name)), model_of(zip_file(today, name))
    assert (old.nodes, old.tensors, old.policy) == (new.nodes, new.tensors, new.policy)


def gym_field(field):
    """
    A field of `data` with a pickled space, as a version that knew gym alone wrote it.
    """
    content = base64.b64decode(field[":serialized:"])
    # Both names have a length before them: in protocol 4, one byte.
    for kind in (b"box", b"dict", b"discrete", b"multi_discrete", b"multi_binary"):
        old, new = b"gymnasium.spaces." + kind, b"gym.spaces." + kind
        content = content.replace(bytes([0x8C, len(old)]) + old, bytes([0x8C, len(new)]) + new)
    return {**field, ":serialized:": base64.b64encode(without_frames(content)).decode()}


def without_frames(content):
    """
    A pickle without the frame at its head, which has the length of all that follows.
    """
    assert content[2:3] == b"\x95"
    return content[:2] + content[11:]


@pytest.mark.parametrize("name", ["ppo_dict", "a2c_several_choices", "ppo_bits", "sac_default", "dqn_cnn"])
def test_spaces_of_gym_are_those_of_gymnasium(name, tmp_path, today):
    data = json.loads(members(name)["data"])
    fields = {key: gym_field(data[key]) for key in ("observation_space", "action_space")}
    assert fields != {key: data[key] for key in fields}
    old, new = model_of(zip_file(tmp_path, name, fields=fields)), model_of(zip_file(today, name))
    assert (old.nodes, old.tensors, old.policy) == (new.nodes, new.tensors, new.policy)


def without_prefixes(state):
    """
    Names of SB3 before 1.7, which knew one features extractor.
    """
    for key in [key for key in state if key.startswith(("pi_features_extractor.", "vf_features_extractor."))]:
        del state[key]
    modules = ("pi_features_extractor", "vf_features_extractor")
    for path in [path for path in state._metadata if path.startswith(modules)]:
        del state._metadata[path]


@pytest.mark.parametrize("name", ["ppo_default", "ppo_cnn", "ppo_dict", "maskable_cnn"])
def test_one_features_extractor_is_the_actors_and_the_critics(name, tmp_path):
    agent, model = make(name), model_of(zip_file(tmp_path, name, without_prefixes))
    assert not any(key.startswith(("pi_", "vf_")) for key in model.tensors)
    assert_answers(agent, model)


def assert_answers(agent, model):
    """
    Scores and value of a model are those of SB3's agent.
    """
    given = given_for(agent, observations_for(agent.observation_space))
    expected, seen = expected_of(agent, given).outputs, flat(agent, given.observations)
    values = evaluate(model, inputs_of(model, given))
    assert_same_scores(values[model.output("scores").tensor], expected["scores"], seen)
    if "value" in expected:
        assert_same_scores(values[model.output("value").tensor], expected["value"], seen)


def compiled(state, *modules):
    """
    Names as torch.compile leaves them where it wraps modules.
    """

    def renamed(key):
        module = next((module for module in modules if key == module or key.startswith(f"{module}.")), None)
        return key if module is None else f"{module}._orig_mod{key.removeprefix(module)}".removeprefix(".")

    for key in list(state):
        state[renamed(key)] = state.pop(key)
    for path in list(state._metadata):
        state._metadata[renamed(path)] = state._metadata.pop(path)


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("ppo_default", ("mlp_extractor.policy_net", "action_net")),
        ("ppo_dict", ("features_extractor", "pi_features_extractor", "vf_features_extractor", "mlp_extractor")),
        ("dqn_default", ("q_net", "q_net_target")),
        ("sac_default", ("actor", "critic")),
    ],
)
def test_what_torch_compile_adds_to_names_is_left_out(name, modules, tmp_path, today):
    change = functools.partial(lambda state: compiled(state, *modules))
    plain = model_of(zip_file(today, name))
    model = model_of(zip_file(tmp_path, name, change))
    assert model.nodes == plain.nodes
    assert dict(model.tensors) == dict(plain.tensors)


def test_a_whole_policy_may_have_been_compiled(tmp_path):
    def change(state):
        for key in list(state):
            state[f"_orig_mod.{key}"] = state.pop(key)
        for path in list(state._metadata):
            state._metadata[f"_orig_mod.{path}".removesuffix(".")] = state._metadata.pop(path)

    plain = model_of(bare_file(tmp_path, "ppo_default"))
    assert model_of(bare_file(tmp_path, "ppo_default", change)).nodes == plain.nodes


def test_names_that_torch_compile_makes_ambiguous_are_refused(tmp_path):
    def change(state):
        state["action_net._orig_mod.bias"] = torch.zeros(2)

    (finding,) = refusal(bare_file(tmp_path, "ppo_default", change))
    assert finding == "two tensors have the same name but for '_orig_mod'"
    with pytest.raises(CheckpointError, match="two tensors have the same name"):
        model_of(zip_file(tmp_path, "ppo_default", change))


# gSDE of SB3 before 1.7, which could have layers of its own for the noise.


def with_noise_layers(state, prefix, inputs, units):
    state[f"{prefix}sde_features_extractor.0.weight"] = torch.linspace(-1, 1, inputs * units).reshape(units, inputs)
    state[f"{prefix}sde_features_extractor.0.bias"] = torch.linspace(-0.5, 0.5, units)
    state[f"{prefix}log_std"] = torch.linspace(-2, 0.5, units * 3).reshape(units, 3)


@pytest.mark.parametrize(("name", "prefix", "act"), [("ppo_sde", "", np.tanh), ("sac_other_clip", "actor.", None)])
def test_noise_may_have_layers_of_its_own(name, prefix, act, tmp_path):
    def change(state):
        with_noise_layers(state, prefix, 4, 5)

    fields = {"policy_kwargs": {**json.loads(members(name)["data"])["policy_kwargs"], "sde_net_arch": [5]}}
    model = model_of(zip_file(tmp_path, name, change, fields))
    observations = observations_for(make(name).observation_space).astype(np.float64)
    values = evaluate(model, {"observation": observations})
    latent, deviations = (output.tensor for output in model.outputs if output.role == "distribution")
    state = state_of(name)
    change(state)
    weight, bias = (state[f"{prefix}sde_features_extractor.0.{end}"].double().numpy() for end in ("weight", "bias"))
    linear = observations @ weight.T + bias
    expected = np.maximum(linear, 0) if act is None else act(linear)
    np.testing.assert_allclose(values[latent], expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(values[deviations], np.exp(state[f"{prefix}log_std"].numpy()), rtol=1e-6)


def test_noise_may_read_the_features_themselves(tmp_path):
    def change(state):
        state["log_std"] = torch.full((4, 3), -0.5)

    fields: dict[str, Any] = {"policy_kwargs": {"sde_net_arch": []}}
    model = model_of(zip_file(tmp_path, "ppo_sde", change, fields))
    (latent,) = (output.tensor for output in model.outputs if output.name == "latent")
    assert model.producer(latent).op == "flatten"


def test_a_file_without_exploration_rate_gets_sb3s_default(tmp_path):
    path = zip_file(tmp_path, "dqn_default", fields={"exploration_rate": ...})
    assert model_of(path).policy.sampling.epsilon == 0.05
    assert len(model_of(path).origin.assumptions) == 1
    for rate in (1.5, -0.1):
        (finding,) = refusal(zip_file(tmp_path, "dqn_default", fields={"exploration_rate": rate}))
        assert finding == f"exploration_rate: expected a number from 0 to 1, found {rate}"


# ARS of sb3_contrib before 1.5.


def old_linear(state):
    state["action_net.weight"] = state.pop("action_net.0.weight")
    for path in ("action_net.0", "action_net.1"):
        state._metadata.pop(path, None)


@pytest.mark.parametrize("name", ["ars_linear", "ars_linear_box"])
def test_a_linear_policy_was_a_single_layer(name, tmp_path):
    agent, model = make(name), model_of(zip_file(tmp_path, name, old_linear))
    assert_answers(agent, model)
    assert "action_net.weight" in model.tensors
    bounds = {}
    if isinstance(agent.action_space, gymnasium.spaces.Box):
        bounds = {"action_kind": "box", "action_low": (-1.0, 0.0, -300.0), "action_high": (0.5, 0.001, 100.0)}
    assert model_of(bare_file(tmp_path, name, old_linear), **bounds).nodes == model.nodes


def test_the_tanh_of_the_list_of_modules_counts(tmp_path):
    """
    An MLP for Box actions ended in tanh even where squash_output was off, and was clipped after it.
    """

    def change(state):
        state._metadata["action_net.3"] = {"version": 1}

    model = model_of(zip_file(tmp_path, "ars_clipped", change))
    assert [node.op for node in model.nodes][-3:] == ["linear", "tanh", "clip"]
    assert [node.op for node in model_of(zip_file(tmp_path, "ars_clipped")).nodes][-2:] == ["linear", "clip"]
