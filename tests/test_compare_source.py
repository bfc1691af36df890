"""
`policyc verify --against`: a predictor against Stable-Baselines3 itself, and against what is not its source.
"""

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import compiler
from compiler import BuildOptions, CheckpointError, PolicycError, UnsupportedError, VerificationError, frontends
from compiler.cli import cli
from compiler.compare_source import SourceComparison
from compiler.compare_source.agent import loaded
from compiler.verify_package import verify_package
from tests import stand_in

MODEL = Path(__file__).parents[1] / "model"
OPTIONS = BuildOptions(verify_observations=100)


@pytest.fixture(autouse=True)
def numpy_predictors(monkeypatch):
    stand_in.install(monkeypatch)


def build(name: str, out: Path, **settings) -> Path:
    return compiler.build(MODEL / f"{name}.zip", out=out, options=OPTIONS, **settings).path


def rezipped(source: Path, target: Path, **changes) -> Path:
    """
    A copy of an SB3 zip with other fields in its `data`.
    """
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "data":
                content = json.dumps(json.loads(content) | changes).encode()
            new.writestr(name, content)
    return target


@pytest.mark.parametrize(("name", "algorithm"), [("cartpole", "PPO"), ("pendulum", "SAC")])
def test_the_predictor_of_an_agent_is_the_agent(tmp_path, name, algorithm):
    pytest.importorskip("stable_baselines3")
    path = build(name, tmp_path)
    found = verify_package(path, against=MODEL / f"{name}.zip", trust=True).source
    assert isinstance(found, SourceComparison)
    assert found.algorithm == algorithm
    assert found.observations > 100
    assert found.action_error < 2e-5
    assert found.score_error is not None
    assert found.score_error < 2e-4
    assert not any(name == "gym" or name.startswith("gym.") for name in sys.modules)
    arguments = ["verify", str(path), "--against", str(MODEL / f"{name}.zip"), "--trust"]
    text = CliRunner().invoke(cli, arguments).stdout
    assert f"\nthe same as Stable-Baselines3's {algorithm}: " in text
    document = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert document["source"]["algorithm"] == algorithm


def test_a_wrong_activation_is_found_in_the_scores(tmp_path):
    pytest.importorskip("stable_baselines3")
    policy = tmp_path / "cartpole.pth"
    shutil.copy(MODEL / "cartpole_policy.pth", policy)
    # What the bare policy does not say, told wrongly: the predictor fits its own model file, but not the agent.
    options = BuildOptions(verify_observations=100, activation="ReLU")
    path = compiler.build(policy, out=tmp_path, options=options).path
    with pytest.raises(VerificationError, match=r"(action|scores): the predictor gives .*, SB3 ") as caught:
        verify_package(path, against=MODEL / "cartpole.zip", trust=True)
    assert "observations differ\n  observation (" in str(caught.value)


def test_other_weights_are_found(tmp_path, monkeypatch):
    pytest.importorskip("stable_baselines3")
    read = frontends.read_with_source

    def read_wrongly(path, options, *, asked):
        return stand_in.with_scaled(read(path, options)[0], "action_net.weight", 1.001), None

    monkeypatch.setattr(frontends, "read_with_source", read_wrongly)
    path = build("cartpole", tmp_path)
    with pytest.raises(VerificationError, match="scores: the predictor gives"):
        verify_package(path, against=MODEL / "cartpole.zip", trust=True)


def test_another_agent_is_not_the_source(tmp_path):
    pytest.importorskip("stable_baselines3")
    with pytest.raises(VerificationError, match="SB3 does not answer what the predictor answers: ValueError"):
        verify_package(build("cartpole", tmp_path), against=MODEL / "pendulum.zip", trust=True)


def test_nothing_is_loaded_without_trust(tmp_path):
    path = build("cartpole", tmp_path)
    before = set(sys.modules)
    with pytest.raises(CheckpointError, match=r"that executes what the file says; .* add --trust"):
        verify_package(path, against=MODEL / "cartpole.zip")
    assert not {"torch", "stable_baselines3"} & (set(sys.modules) - before)
    arguments = ["verify", str(path), "--against", str(MODEL / "cartpole.zip")]
    assert CliRunner().invoke(cli, arguments).exit_code == 3


def test_a_bare_policy_cannot_be_compared(tmp_path):
    with pytest.raises(UnsupportedError, match=r"there is no SB3 model to compare with: name the \.zip"):
        verify_package(build("cartpole", tmp_path), against=MODEL / "cartpole_policy.pth", trust=True)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = build("cartpole", tmp_path)
    with pytest.raises(CheckpointError, match="is not a file"):
        verify_package(path, against=tmp_path / "missing.zip", trust=True)
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(UnsupportedError, match=r"is not a \.zip"):
        verify_package(path, against=tmp_path / "text.zip", trust=True)
    other = rezipped(MODEL / "cartpole.zip", tmp_path / "other.zip", policy_class={"__module__": "my\x1bown"})
    with pytest.raises(UnsupportedError, match=r"its policy class is of 'my\\x1bown'; known are "):
        verify_package(path, against=other, trust=True)


def test_what_sb3_cannot_load_is_said(tmp_path):
    pytest.importorskip("stable_baselines3")
    path = build("cartpole", tmp_path)
    broken = rezipped(MODEL / "cartpole.zip", tmp_path / "broken.zip", observation_space="nothing")
    with pytest.raises(CheckpointError, match="PPO can't load it"):
        verify_package(path, against=broken, trust=True)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    for name in ("stable_baselines3", "sb3_contrib"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PolicycError, match=r"stable_baselines3 is not installed: pip install 'policyc\[sb3\]'"):
        verify_package(build("cartpole", tmp_path), against=MODEL / "cartpole.zip", trust=True)


@pytest.mark.parametrize("name", ["stable_baselines3:A2C", "stable_baselines3:PPO", "sb3_contrib:TRPO"])
def test_algorithms_of_one_policy_class_are_told_apart(tmp_path, name):
    package, algorithm = name.split(":")
    kind = getattr(pytest.importorskip(package), algorithm)
    kind("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "agent.zip")
    with loaded(tmp_path / "agent.zip", None, trust=True) as agent:
        assert agent.name == algorithm


@pytest.mark.slow
@pytest.mark.skipif("POLICYC_ZOO" not in os.environ, reason="POLICYC_ZOO does not name the folder of the zoo")
@pytest.mark.parametrize(
    "file", ["a2c/CartPole-v1.zip", "dqn/CartPole-v1.zip", "ddpg/Pendulum-v1.zip", "trpo/CartPole-v1.zip"]
)
def test_agents_of_older_versions_are_loaded(tmp_path, file):
    pytest.importorskip("stable_baselines3")
    checkpoint = Path(os.environ["POLICYC_ZOO"]) / file
    path = compiler.build(checkpoint, out=tmp_path, options=OPTIONS).path
    found = verify_package(path, against=checkpoint, trust=True).source
    assert isinstance(found, SourceComparison)
    assert found.action_error < 2e-5
