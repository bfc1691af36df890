"""
What `nox -s zoo` finds, says and exits with; and the agents that it is tried with.
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests import stand_in
from tests.golden import zoo
from tests.golden.make_zoo import NORMALISED, chosen

MODEL = Path(__file__).parents[2] / "model"


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=zoo.WIDTH)


def test_agents_are_found_with_their_statistics(tmp_path):
    for name in ("b/two.zip", "b/two.vecnormalize.pkl", "a.zip", "a.pkl", "deep/er/three.zip"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = zoo.agents_below(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.zip", "b/two.zip", "deep/er/three.zip"]
    assert [path and path.name for path in map(zoo.statistics_of, found)] == [None, "two.vecnormalize.pkl", None]


def test_an_agent_is_compared(monkeypatch):
    stand_in.install(monkeypatch)
    found = zoo.examine(MODEL / "cartpole.zip", "cartpole.zip")
    assert found.failure == ""
    assert (found.algorithm, found.observation, found.action) == ("PPO", "Box[4] float32", "Discrete 2")
    assert found.observations >= 1000
    assert 0 < found.difference < 1e-4
    assert found.predictor > 0
    assert found.sb3 > 0


def test_a_wrong_predictor_and_a_file_that_is_refused_have_failed(tmp_path, monkeypatch):
    stand_in.install(monkeypatch)
    monkeypatch.setattr(zoo, "compare_agent", lambda *arguments: 1 / 0)
    assert "ZeroDivisionError" in zoo.examine(MODEL / "cartpole.zip", "cartpole.zip").failure
    (tmp_path / "text.zip").write_text("text")
    assert "text.zip" in zoo.examine(tmp_path / "text.zip", "text.zip").failure


@pytest.mark.slow
def test_the_table_has_a_row_for_each_agent(tmp_path, console):
    shutil.copy(MODEL / "cartpole.zip", tmp_path / "good.zip")
    (tmp_path / "bad.zip").write_text("text")
    assert zoo.run(tmp_path, 1, console) == 1
    text = console.file.getvalue()
    assert "executes what they say" in text
    rows = {line.split()[0]: line for line in text.splitlines() if ".zip  " in line}
    assert rows["bad.zip"].rstrip().endswith("FAILED")
    assert rows["good.zip"].rstrip().endswith("same")
    assert "1 of 2 agents are answered as by SB3." in text


@pytest.mark.slow
def test_processes_that_have_examined_their_share_give_way_to_new_ones(tmp_path):
    for name in ("a.zip", "b.zip", "c.zip"):
        (tmp_path / name).write_text("text")
    program = (
        "import sys, pathlib, rich.console; from tests.golden import zoo; zoo.AGENTS_EACH = 2;"
        "sys.exit(zoo.run(pathlib.Path(sys.argv[1]), 1, rich.console.Console(width=zoo.WIDTH)))"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert done.returncode == 1, done.stderr
    assert [line for line in done.stdout.splitlines() if line.endswith(": FAILED")] == [
        "a.zip: FAILED",
        "b.zip: FAILED",
        "c.zip: FAILED",
    ]


def test_a_folder_without_agents_is_a_failure(tmp_path, console):
    assert zoo.run(tmp_path, 1, console) == 1
    assert "no .zip below" in console.file.getvalue()


def test_the_agents_made_cover_every_algorithm():
    recipes = chosen()
    assert len(recipes) >= 60
    algorithms = {recipe.algorithm.__name__ for recipe in recipes}
    assert algorithms == {
        *("PPO", "A2C", "TRPO", "MaskablePPO", "RecurrentPPO", "DQN", "QRDQN"),
        *("SAC", "TQC", "TD3", "DDPG", "CrossQ", "ARS"),
    }
    assert set(NORMALISED) <= {recipe.name for recipe in recipes}
