"""
Options beside a zip that knows better.
"""

import numpy as np
import pytest

from compiler.errors import BuildError
from tests.frontends.checkpoints import refusal, zip_file
from tests.golden.agents import model_of

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
    "observation_kind": "box",
    "masked": False,
    "use_expln": False,
    "batch_norm_eps": 0.001,
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
    "observation_kind": "multi_binary",
    "observation_sizes": (4,),
    "action_sizes": (6,),
    "masked": True,
    "use_expln": True,
    "quantiles": 3,
    "batch_norm_eps": 0.5,
    "exploration_rate": 0.5,
}


def test_options_that_agree_with_the_file_are_accepted(tmp_path):
    path = zip_file(tmp_path, "ppo_box")
    assert model_of(path, **SAME).nodes == model_of(path).nodes


@pytest.mark.parametrize("name", OTHER)
def test_options_that_contradict_the_file_are_refused(name, tmp_path):
    path = zip_file(tmp_path, "ppo_box")
    (finding,) = refusal(path, BuildError, **{name: OTHER[name]})
    value, option = OTHER[name], name.replace("_", "-")
    values = value if isinstance(value, tuple) else (value,)
    switches = {True: f"--{option}", False: f"--no-{option}"}
    shown = switches[value] if isinstance(value, bool) else f"--{option} {','.join(map(str, values))}"
    assert finding.startswith(f"{shown} contradicts the file")


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


def test_options_agree_with_choices_too(tmp_path):
    path = zip_file(tmp_path, "a2c_several_choices")
    same = {"observation_kind": "multi_discrete", "observation_sizes": (3, 2, 4), "action_sizes": (3, 2, 5)}
    assert model_of(path, action_kind="multi_discrete", **same)
    (finding,) = refusal(path, BuildError, action_sizes=(2, 3, 5))
    assert finding.startswith("--action-sizes 2,3,5 contradicts the file")
    assert refusal(path, BuildError, observation_shape=(3,))
    assert refusal(path, BuildError, observation_dtype="int64")
    assert model_of(zip_file(tmp_path, "ppo_discrete_observation"), observation_sizes=(7,), action_sizes=(4,))
    assert model_of(zip_file(tmp_path, "maskable_discrete"), masked=True)
    assert model_of(zip_file(tmp_path, "qrdqn_default"), quantiles=25, exploration_rate=0.125)
    (finding,) = refusal(zip_file(tmp_path, "maskable_discrete"), BuildError, masked=False)
    assert finding.startswith("--no-masked contradicts the file")
