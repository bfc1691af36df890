"""
What the tensors of a checkpoint may be, and that everything wrong with them is reported at once.
"""

import functools

import numpy as np
import pytest
import torch

from compiler.errors import UnsupportedError
from compiler.ops.reference import evaluate
from tests.frontends.checkpoints import bare_file, refusal, zip_file
from tests.golden.agents import make, model_of, observations_for

POLICY = "mlp_extractor.policy_net"


def test_all_damages_are_reported_at_once(tmp_path):
    def change(state):
        del state[f"{POLICY}.2.weight"]
        state[f"{POLICY}.0.bias"] = torch.zeros(5)
        state["action_net.weight"] = torch.zeros(2, 3, 4)
        state["value_net.weight"] = torch.zeros(1, 9)

    assert refusal(zip_file(tmp_path, "ppo_default", change)) == [
        f"layer '{POLICY}.0': the bias must have 64 floating elements, found float32 of shape (5,)",
        f"layer '{POLICY}.2' is missing: there is no '{POLICY}.2.weight'",
        "layer 'action_net': the weight must be a floating matrix, found float32 of shape (2, 3, 4)",
        "layer 'value_net' takes 9 features; there are 64",
    ]


def test_sizes_must_follow_one_another_from_observation_to_action(tmp_path):
    def change(state):
        state[f"{POLICY}.0.weight"] = torch.zeros(64, 5)
        state[f"{POLICY}.2.weight"] = torch.zeros(10, 63)
        state["action_net.weight"] = torch.zeros(3, 10)
        state["action_net.bias"] = torch.zeros(3)

    assert refusal(zip_file(tmp_path, "ppo_default", change)) == [
        f"layer '{POLICY}.0' takes 5 features; there are 4",
        f"layer '{POLICY}.2' takes 63 features; there are 64",
        f"layer '{POLICY}.2': the bias must have 10 floating elements, found float32 of shape (64,)",
        "layer 'action_net' has 3 outputs; the action space needs 2",
    ]


def remove(state, key):
    del state[key]


@pytest.mark.parametrize("name", ["ppo_box", "dqn_default", "sac_default", "sac_clipped_mean", "td3_default"])
def test_every_layer_of_the_actor_is_needed(name, tmp_path):
    used = [node.inputs[1] for node in model_of(zip_file(tmp_path, name)).nodes if node.op == "linear"]
    assert used
    for key in used:
        (finding,) = refusal(zip_file(tmp_path, name, functools.partial(remove, key=key)))
        assert finding == f"layer '{key.removesuffix('.weight')}' is missing: there is no '{key}'"


def test_layers_are_read_without_a_list_of_modules(tmp_path):
    def change(state):
        del state._metadata

    whole = model_of(zip_file(tmp_path, "ppo_uneven"))
    assert model_of(zip_file(tmp_path, "ppo_uneven", change)).nodes == whole.nodes

    def gap(state):
        change(state)
        del state[f"{POLICY}.2.weight"], state[f"{POLICY}.2.bias"]

    assert refusal(zip_file(tmp_path, "ppo_uneven", gap)) == [
        f"layer '{POLICY}.2' is missing: there is no '{POLICY}.2.weight'",
    ]


def test_the_list_of_modules_must_fit_the_tensors(tmp_path):
    def without_activation(state):
        del state._metadata[f"{POLICY}.3"]

    def with_norm(state):
        state._metadata[f"{POLICY}.4"] = state._metadata[f"{POLICY}.5"] = {"version": 1}

    def nested(state):
        state._metadata[f"{POLICY}.1.gate"] = {"version": 1}

    assert refusal(zip_file(tmp_path, "ppo_default", without_activation)) == [f"the list of modules lacks '{POLICY}.3'"]
    assert refusal(zip_file(tmp_path, "ppo_default", with_norm)) == [
        f"layer '{POLICY}.4' is missing: there is no '{POLICY}.4.weight'"
    ]
    (finding,) = refusal(zip_file(tmp_path, "ppo_default", nested), UnsupportedError)
    assert finding == f"module '{POLICY}.1.gate' is neither nn.Linear nor an activation"


def test_the_tanh_of_td3_is_part_of_the_list(tmp_path):
    def change(state):
        del state._metadata["actor.mu.5"]

    assert refusal(zip_file(tmp_path, "td3_default", change)) == ["the list of modules lacks 'actor.mu.5'"]


def test_parameters_of_other_layers_are_refused_all_at_once(tmp_path):
    def change(state):
        state[f"{POLICY}.1.weight"] = torch.ones(1)
        state[f"{POLICY}.norm.running_mean"] = torch.ones(64)
        state[f"{POLICY}.00.weight"] = torch.ones(64)
        state[f"{POLICY}.123456.weight"] = torch.ones(64)

    found = refusal(zip_file(tmp_path, "ppo_default", change), UnsupportedError)
    assert found == [
        f"tensor '{POLICY}.{name}': a parameter of a layer that is neither nn.Linear nor an activation"
        for name in ("1.weight", "norm.running_mean", "00.weight", "123456.weight")
    ]


def test_a_far_layer_does_not_flood_the_message(tmp_path):
    def change(state):
        state[f"{POLICY}.9998.weight"] = torch.ones(64, 64)

    found = refusal(zip_file(tmp_path, "ppo_default", change))
    assert len(found) == 51
    assert found[-1].startswith("and ")


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("features_extractor.cnn.0", "ppo_default"),
        ("pi_features_extractor.linear", "ppo_default"),
        ("q_net.features_extractor.extractors.a", "dqn_default"),
        ("actor.features_extractor.cnn.0", "sac_default"),
        ("actor.features_extractor.cnn.0", "td3_default"),
    ],
)
def test_a_features_extractor_with_parameters_is_refused(prefix, name, tmp_path):
    def change(state):
        state[f"{prefix}.weight"] = torch.ones(3, 4)

    (finding,) = refusal(zip_file(tmp_path, name, change), UnsupportedError)
    assert "is not SB3's FlattenExtractor" in finding
    assert f"'{prefix}.weight'"[:30] in finding


def test_a_features_extractor_with_other_modules_is_refused(tmp_path):
    def change(state):
        state._metadata["features_extractor.square"] = {"version": 1}

    for path in (zip_file(tmp_path, "ppo_default", change), bare_file(tmp_path, "ppo_default", change)):
        (finding,) = refusal(path, UnsupportedError)
        assert "'features_extractor.square'" in finding


def test_zero_dimensions_are_refused_wherever_they_are(tmp_path):
    def change(state):
        state["log_std"] = torch.zeros(0)
        state["value_net.weight"] = torch.zeros(0, 64)

    found = refusal(zip_file(tmp_path, "ppo_default", change))
    assert "tensor 'log_std' has shape (0,): a dimension is zero" in found
    assert "tensor 'value_net.weight' has shape (0, 64): a dimension is zero" in found


@pytest.mark.parametrize(
    "name",
    ["observation", "observation.x", "action_space.low", "action_space.high", "action_masks", "episode_starts", "h.0"],
)
def test_names_that_the_model_needs_are_refused(name, tmp_path):
    def change(state):
        state[name] = torch.ones(3)

    assert refusal(zip_file(tmp_path, "ppo_box", change)) == [f"tensor '{name}': no policy has a tensor of this name"]


def test_a_tensor_named_like_a_result_is_kept_apart(tmp_path):
    def change(state):
        state["action_net"] = torch.ones(3)
        state['x"\n{{ evil }}\u2028'] = torch.ones(2)

    model = model_of(zip_file(tmp_path, "ppo_default", change))
    assert model.tensors["action_net"].data is not None
    assert model.output("scores").tensor == "action_net:2"
    assert 'x"\n{{ evil }}\u2028' in model.tensors


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.bfloat16])
def test_other_floats_are_loaded_into_float32(dtype, tmp_path):
    def change(state):
        for key in state:
            state[key] = state[key].to(dtype)

    model = model_of(zip_file(tmp_path, "sac_default", change))
    original = make("sac_default").policy.state_dict()
    for tensor in model.constants():
        if tensor.name in original:
            assert tensor.dtype == "float32"
            np.testing.assert_array_equal(tensor.data, original[tensor.name].to(dtype).to(torch.float32).numpy())


def test_integer_weights_are_refused(tmp_path):
    def change(state):
        state["action_net.weight"] = state["action_net.weight"].to(torch.int32)

    (finding,) = refusal(zip_file(tmp_path, "ppo_default", change))
    assert finding == "layer 'action_net': the weight must be a floating matrix, found int32 of shape (2, 64)"


def test_a_layer_without_bias_has_a_zero_bias(tmp_path):
    def change(state):
        del state["q_net.q_net.0.bias"]

    def zero(state):
        state["q_net.q_net.0.bias"].zero_()

    without = model_of(zip_file(tmp_path, "dqn_default", change))
    assert without.nodes == model_of(zip_file(tmp_path, "dqn_default", zero)).nodes
    assert not without.tensors["q_net.q_net.0.bias"].data.any()


@pytest.mark.parametrize("name", ["ppo_box", "dqn_default", "sac_default", "td3_default"])
def test_every_tensor_of_the_checkpoint_stays_in_the_model(name, tmp_path):
    model = model_of(zip_file(tmp_path, name))
    expected = make(name).policy.state_dict()
    made = ("action_space.low", "action_space.high", "log_std.exp")
    own = {tensor.name: tensor.data for tensor in model.constants() if tensor.name not in made}
    assert list(own) == list(expected)
    for key, array in own.items():
        np.testing.assert_array_equal(array, expected[key].numpy())
    assert model.tensors["observation"].data is None


def test_a_policy_without_value_network_has_no_value(tmp_path):
    def change(state):
        for key in [key for key in state if "value_net" in key]:
            del state[key]

    model = model_of(zip_file(tmp_path, "ppo_default", change))
    assert [output.name for output in model.outputs] == ["logits", "action"]


def test_shared_layers_of_old_policies_come_first(tmp_path):
    """
    SB3 before 1.8 allowed layers common to actor and critic; the same network without them gives the same answers.
    """

    def change(state):
        for end in ("weight", "bias"):
            state[f"mlp_extractor.shared_net.0.{end}"] = state.pop(f"{POLICY}.0.{end}")
            state[f"{POLICY}.0.{end}"] = state.pop(f"{POLICY}.2.{end}")
            del state[f"mlp_extractor.value_net.0.{end}"]
            state[f"mlp_extractor.value_net.0.{end}"] = state.pop(f"mlp_extractor.value_net.2.{end}")
        del state._metadata

    old = model_of(zip_file(tmp_path, "ppo_default", change))
    assert [node.name for node in old.nodes if node.op == "linear"] == [
        "mlp_extractor.shared_net.0",
        f"{POLICY}.0",
        "action_net",
        "mlp_extractor.value_net.0",
        "value_net",
    ]
    observations = {"observation": observations_for(make("ppo_default").observation_space)}
    # A model looks into the file that it was read from, which must not change.
    (tmp_path / "new").mkdir()
    new = model_of(zip_file(tmp_path / "new", "ppo_default"))
    logits, expected = (evaluate(model, observations)[model.output("scores").tensor] for model in (old, new))
    np.testing.assert_array_equal(logits, expected)
    assert model_of(bare_file(tmp_path, "ppo_default", change)).nodes == old.nodes


def test_log_std_must_fit_use_sde(tmp_path):
    def change(state):
        state["log_std"] = torch.zeros(6)

    (finding,) = refusal(zip_file(tmp_path, "ppo_squashed", change))
    assert finding == "use_sde is True, but log_std has shape (6,)"


def test_clip_mean_must_fit_the_actor(tmp_path):
    path = zip_file(tmp_path, "sac_clipped_mean", fields={"policy_kwargs": {"use_sde": True, "clip_mean": 0.0}})
    (finding,) = refusal(path)
    assert finding.startswith("clip_mean is 0.0, but the tensor actor.mu.0.weight")
