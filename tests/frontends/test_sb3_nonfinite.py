"""
Weights that are NaN or infinite.
"""

import numpy as np
import pytest
import torch

from tests.frontends.checkpoints import refusal, zip_file
from tests.golden.agents import model_of

POLICY = "mlp_extractor.policy_net"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_weights_that_decide_the_action_are_refused(value, tmp_path):
    def change(state):
        state[f"{POLICY}.2.weight"][3, 4] = value
        state["action_net.bias"][0] = value

    path = zip_file(tmp_path, "ppo_default", change)
    found = refusal(path)
    assert len(found) == 2
    assert found[0].startswith(f"layer '{POLICY}.2': '{POLICY}.2.weight' holds NaN or infinity")
    assert found[1].startswith("layer 'action_net': 'action_net.bias' holds NaN or infinity")
    assert model_of(path, allow_nonfinite_weights=True).output("action")


def test_float64_weights_beyond_float32_are_infinite(tmp_path):
    def change(state):
        state["action_net.bias"] = torch.full((2,), 1e39, dtype=torch.float64)

    assert "holds NaN or infinity" in refusal(zip_file(tmp_path, "ppo_default", change))[0]


def test_nonfinite_weights_that_decide_nothing_stay(tmp_path):
    def ppo(state):
        state["value_net.bias"][0] = np.nan
        state["mlp_extractor.value_net.0.weight"][0] = np.inf
        state["log_std"] = torch.full((3,), np.nan)

    def sac(state):
        state["critic.qf0.0.weight"][0] = np.nan

    assert model_of(zip_file(tmp_path, "ppo_default", ppo)).output("value")
    assert model_of(zip_file(tmp_path, "sac_default", sac)).output("value") is None


def test_nonfinite_weights_that_decide_drawn_actions_are_refused(tmp_path):
    def computed(state):
        state["actor.log_std.bias"][0] = np.inf

    def constant(state):
        state["log_std"][1] = np.nan

    def matrix(state):
        state["log_std"][1, 2] = 1000.0

    for name, change, tensor in (
        ("sac_default", computed, "actor.log_std.bias"),
        ("ppo_box", constant, "log_std.exp"),
        ("ppo_squashed", matrix, "log_std.exp"),
    ):
        (finding,) = refusal(zip_file(tmp_path, name, change))
        assert f"'{tensor}' holds NaN or infinity" in finding
