"""
Agents of other people, saved by Stable-Baselines3 0.8 to 2.4: what is compiled of them answers as SB3 itself does.

POLICYC_ZOO names the folder: `ALGORITHM/NAME.zip`, with `NAME.vecnormalize.pkl` beside those trained with VecNormalize.
"""

import importlib
import io
import os
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import sb3_contrib
import stable_baselines3
import torch

from compiler.errors import CheckpointError
from compiler.ops.reference import evaluate
from tests.golden.agents import flat, inputs_of, model_of, observations_for
from tests.golden.compare import assert_same_actions, assert_same_scores
from tests.golden.expected import expected_of, given_for
from tests.golden.zoo import examine
from tests.thorough import chosen

ZOO = Path(os.environ["POLICYC_ZOO"]) if os.environ.get("POLICYC_ZOO") else None
pytestmark = pytest.mark.skipif(ZOO is None, reason="POLICYC_ZOO names no folder of trained agents")

ON_POLICY = ("a2c", "ppo", "trpo")


AGENTS = sorted(ZOO.glob("*/*.zip")) if ZOO else []
NORMALISED = [path for path in AGENTS if path.with_suffix(".vecnormalize.pkl").exists()]
LAST_OF_EACH = {path.parent.name: path for path in AGENTS}
COMPILED = [path for name, path in LAST_OF_EACH.items() if name in ("a2c", "ppo", "tqc")]
FRESH = [path for path in AGENTS if path not in NORMALISED]

NOT_NEEDED = ("replay_buffer_class", "action_noise")
SCHEDULES = ("lr_schedule", "clip_range", "exploration_schedule")
REPLACED: dict[str, Any] = (
    {"replay_buffer_kwargs": {}} | dict.fromkeys(NOT_NEEDED) | dict.fromkeys(SCHEDULES, lambda _: 0.0)
)


def label(path):
    return f"{path.parent.name}/{path.stem}"


@pytest.fixture
def gym_is_gymnasium(monkeypatch):
    """
    Lets pickles that name gym's spaces find gymnasium's.
    """
    monkeypatch.setitem(sys.modules, "gym", gymnasium)
    for name in ("", ".box", ".dict", ".discrete", ".multi_binary", ".multi_discrete", ".space"):
        monkeypatch.setitem(sys.modules, f"gym.spaces{name}", importlib.import_module(f"gymnasium.spaces{name}"))


def load(path, folder):
    """
    The agent as SB3 loads it; the zoo's files are trusted.

    sb3_contrib before 1.5 called the one layer of a linear ARS policy `action_net`, now it is `action_net.0`.
    """
    name = path.parent.name.upper()
    algorithm = getattr(stable_baselines3, name, None) or getattr(sb3_contrib, name)
    if name == "ARS":
        path = with_todays_names(path, folder)
    return algorithm.load(path, device="cpu", custom_objects=REPLACED)


def with_todays_names(path, folder):
    renamed = folder / "renamed.zip"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(renamed, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == "policy.pth":
                state = torch.load(io.BytesIO(content), weights_only=True)
                state = {
                    re.sub(r"^action_net\.(?=weight)", "action_net.0.", key): array for key, array in state.items()
                }
                buffer = io.BytesIO()
                torch.save(state, buffer)
                content = buffer.getvalue()
            new.writestr(member, content)
    return renamed


@pytest.mark.usefixtures("gym_is_gymnasium")
@pytest.mark.parametrize("path", AGENTS, ids=label)
def test_the_model_answers_as_sb3_does(path, tmp_path):
    """
    Both are given observations as they are: SB3's agents do not normalise them either.
    """
    agent, model = load(path, tmp_path), model_of(path)
    given = given_for(agent, observations_for(agent.observation_space))
    expected, seen = expected_of(agent, given), flat(agent, given.observations)
    values = evaluate(model, inputs_of(model, given))
    scores, action = expected.outputs["scores"], model.output("action").tensor
    assert_same_scores(values[model.output("scores").tensor], scores, seen)
    assert_same_actions(agent, values[action].reshape(expected.actions.shape), expected.actions, scores, seen)
    assert model.tensors[action].dtype == expected.actions.dtype


@pytest.mark.parametrize("path", FRESH, ids=label)
def test_nothing_is_assumed(path):
    assert model_of(path, strict=True).origin.assumptions == ()


@pytest.mark.slow
@pytest.mark.parametrize("path", chosen(AGENTS, *COMPILED), ids=label)
def test_the_predictor_answers_as_sb3_does(path):
    """
    With the statistics of those that were trained with VecNormalize: what `nox -s zoo` does with each of them.

    One agent of each kind of action, with statistics and without, all with `nox -s thorough`; that every model is right
    is another test.
    """
    found = examine(path, label(path))
    assert found.failure == ""
    assert found.observations >= 1000
    assert found.difference < 1e-4


@pytest.mark.parametrize("path", [path for path in NORMALISED if path.parent.name in ON_POLICY], ids=label)
def test_vecnormalize_is_noticed(path):
    (assumption,) = model_of(path).origin.assumptions
    assert "VecNormalize" in assumption


@pytest.mark.parametrize("path", [path for path in AGENTS if label(path) != "tqc/PandaReach-v1"], ids=label)
def test_the_bare_policy_is_the_same_network(path, tmp_path):
    bare = tmp_path / "policy.pth"
    with zipfile.ZipFile(path) as archive:
        bare.write_bytes(archive.read("policy.pth"))
    whole = model_of(path)
    space = whole.policy.action_space
    known: dict[str, Any] = {}
    if hasattr(space, "low"):
        known = {"action_low": tuple(space.low.tolist()), "action_high": tuple(space.high.tolist())}
        known |= {"action_kind": "box"}
    if any(node.op == "relu" for node in whole.nodes):
        known["activation"] = "relu"
    if path.parent.name == "qrdqn":
        known["quantiles"] = 25
    model = model_of(bare, **known)
    assert model.nodes == whole.nodes
    assert model.tensors == whole.tensors


@pytest.mark.parametrize("path", AGENTS, ids=label)
def test_a_truncated_file_is_refused(path, tmp_path):
    content = path.read_bytes()
    for size in (0, 3, 40, len(content) // 2, len(content) - 1):
        (tmp_path / "agent.zip").write_bytes(content[:size])
        with pytest.raises(CheckpointError):
            model_of(tmp_path / "agent.zip")


def test_the_zoo_has_agents_of_every_kind():
    assert {"a2c", "ars", "ddpg", "dqn", "ppo", "qrdqn", "sac", "tqc", "trpo"} <= {path.parent.name for path in AGENTS}
    assert len(FRESH) >= 5
    assert NORMALISED
