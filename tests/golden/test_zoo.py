"""
Agents of other people, saved by Stable-Baselines3 0.8 to 2.4: what is compiled of them answers as SB3 itself does.

POLICYC_ZOO names the folder: `ALGORITHM/NAME.zip`, with `NAME.vecnormalize.pkl` beside those trained with VecNormalize.
"""

import importlib
import json
import os
import re
import sys
import zipfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3

import compiler
from compiler.errors import CheckpointError, UnsupportedError
from compiler.ops.reference import evaluate
from tests.golden.agents import model_of, observations_for, scores_of
from tests.golden.compare import assert_same_actions, assert_same_scores

ZOO = Path(os.environ["POLICYC_ZOO"]) if os.environ.get("POLICYC_ZOO") else None
pytestmark = pytest.mark.skipif(ZOO is None, reason="POLICYC_ZOO names no folder of trained agents")

COMPILED = ("a2c", "ddpg", "dqn", "ppo", "sac", "td3", "trpo")
ON_POLICY = ("a2c", "ppo", "trpo")
LATER = re.compile(r"Cnn|MultiInput")


def policy_class(path):
    """
    The name of the policy class, as SB3 printed it beside the pickle.
    """
    with zipfile.ZipFile(path) as archive:
        return str(json.loads(archive.read("data"))["policy_class"].get("__init__", ""))


AGENTS = sorted(ZOO.glob("*/*.zip")) if ZOO else []
COVERED = [path for path in AGENTS if path.parent.name in COMPILED and not LATER.search(policy_class(path))]
OTHER = [path for path in AGENTS if path not in COVERED]
NORMALISED = [path for path in COVERED if path.with_suffix(".vecnormalize.pkl").exists()]
FRESH = [path for path in COVERED if path not in NORMALISED]

NOT_NEEDED = ("replay_buffer_class", "replay_buffer_kwargs", "action_noise")
SCHEDULES = ("lr_schedule", "clip_range", "exploration_schedule")
REPLACED = dict.fromkeys(NOT_NEEDED) | dict.fromkeys(SCHEDULES, lambda _: 0.0)


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


def load(path):
    """
    The agent as SB3 loads it; the zoo's files are trusted.
    """
    name = path.parent.name.upper()
    algorithm = getattr(stable_baselines3, name, None) or getattr(sb3_contrib, name)
    return algorithm.load(path, device="cpu", custom_objects=REPLACED)


@pytest.mark.usefixtures("gym_is_gymnasium")
@pytest.mark.parametrize("path", FRESH, ids=label)
def test_the_model_answers_as_sb3_does(path):
    agent = load(path)
    model = model_of(path, strict=True)
    assert model.origin.assumptions == ()
    observations = observations_for(agent.observation_space)
    expected, _ = agent.predict(observations, deterministic=True)
    expected_scores = scores_of(agent, observations)
    values = evaluate(model, {"observation": observations.astype(np.float32)})
    assert_same_scores(values[model.output("scores").tensor], expected_scores, observations)
    actions = values[model.output("action").tensor].reshape(expected.shape)
    assert_same_actions(agent, actions, expected, expected_scores, observations)
    assert model.tensors[model.output("action").tensor].dtype == expected.dtype


@pytest.mark.slow
@pytest.mark.usefixtures("gym_is_gymnasium")
@pytest.mark.parametrize("path", FRESH, ids=label)
def test_the_predictor_answers_as_sb3_does(path, tmp_path):
    agent = load(path)
    predictor = compiler.build(path, out=tmp_path, name="zoo_agent").load()
    observations = observations_for(agent.observation_space)
    expected, _ = agent.predict(observations, deterministic=True)
    expected_scores = scores_of(agent, observations)
    assert_same_scores(predictor.scores(observations), expected_scores, observations)
    actions, _ = predictor.predict(observations)
    assert actions.dtype == expected.dtype
    assert_same_actions(agent, actions, expected, expected_scores, observations)
    for observation, action in zip(observations[:20], expected[:20], strict=True):
        single, _ = predictor.predict(observation)
        assert (single.shape, single.dtype) == (action.shape, action.dtype)


@pytest.mark.parametrize("path", [path for path in NORMALISED if path.parent.name in ON_POLICY], ids=label)
def test_vecnormalize_is_noticed(path):
    (assumption,) = model_of(path).origin.assumptions
    assert "VecNormalize" in assumption


@pytest.mark.parametrize("path", OTHER, ids=label)
def test_other_families_are_refused(path):
    with pytest.raises(UnsupportedError, match="compile"):
        model_of(path)


@pytest.mark.parametrize("path", COVERED, ids=label)
def test_the_bare_policy_is_the_same_network(path, tmp_path):
    bare = tmp_path / "policy.pth"
    with zipfile.ZipFile(path) as archive:
        bare.write_bytes(archive.read("policy.pth"))
    whole = model_of(path)
    space = whole.policy.action_space
    bounds = {}
    if hasattr(space, "low"):
        bounds = {"action_low": tuple(space.low.tolist()), "action_high": tuple(space.high.tolist())}
    activation = {"activation": "relu"} if any(node.op == "relu" for node in whole.nodes) else {}
    model = model_of(bare, **bounds, **activation)
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
    assert len(FRESH) >= 5
    assert OTHER
