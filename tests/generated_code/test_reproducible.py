"""
Same source, same options, same versions: the same bytes, whatever surrounds the build.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.generated_code.compile_check import ROOT, differences
from tests.thorough import chosen

pytestmark = pytest.mark.slow

# What may not matter: where the build runs, and what its environment says.
SURROUNDINGS: dict[str, dict[str, Any]] = {
    "again": {},
    "other locale": {"LC_ALL": "C"},
    "utf-8 locale": {"LC_ALL": "C.UTF-8", "LANG": "tr_TR.UTF-8"},
    "no hash randomisation": {"PYTHONHASHSEED": "0"},
    "other hash seed": {"PYTHONHASHSEED": "4242"},
    "other time zone": {"TZ": "Pacific/Auckland"},
    "terminal": {"COLUMNS": "40", "FORCE_COLOR": "1"},
}
TOGETHER = {"together": {key: value for variables in SURROUNDINGS.values() for key, value in variables.items()}}
"""Each alone is for the thorough: it says which one it is."""


def build(source: Path | str, out: Path, cwd: Path, umask: int = 0o022, **variables: str) -> Path:
    """
    Builds in a process of its own; the package.
    """
    command = [sys.executable, "-m", "compiler.cli", "build", str(source), "--out", str(out), "--name", "agent"]
    # POSIX sh sets the umask: subprocess's own way to do so is not safe with threads.
    line = f"umask {umask:03o} && exec {shlex.join(command)}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(["sh", "-c", line], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return out / "agent"


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """
    A build of the CartPole agent, run in the checkout with a relative path and hash seed 1.
    """
    return build("model/cartpole.zip", tmp_path_factory.mktemp("first"), ROOT, PYTHONHASHSEED="1")


@pytest.mark.parametrize("name", chosen([*SURROUNDINGS, *TOGETHER], "again", "together"))
def test_environment_does_not_matter(first, tmp_path, name):
    variables = (SURROUNDINGS | TOGETHER)[name]
    assert differences(first, build("model/cartpole.zip", tmp_path, ROOT, **variables)) == []


def test_working_directory_and_source_path_do_not_matter(first, tmp_path):
    source = tmp_path / "elsewhere" / "cartpole.zip"
    source.parent.mkdir()
    source.write_bytes((ROOT / "model" / "cartpole.zip").read_bytes())
    os.utime(source, (0, 0))
    assert differences(first, build(source, tmp_path / "out", tmp_path)) == []


def test_umask_does_not_matter(first, tmp_path):
    package = build("model/cartpole.zip", tmp_path, ROOT, umask=0o077)
    assert differences(first, package) == []


def test_building_over_an_older_package_leaves_nothing_of_it(first, tmp_path):
    build("model/pendulum.zip", tmp_path, ROOT)
    assert differences(first, build("model/cartpole.zip", tmp_path, ROOT)) == []


def test_another_source_makes_a_difference(first, tmp_path):
    assert differences(first, build("model/pendulum.zip", tmp_path, ROOT))
