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
from tests.thorough import THOROUGH

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
    "one processor": {"NUMBA_NUM_THREADS": "1"},
}
TOGETHER = {key: value for variables in SURROUNDINGS.values() for key, value in variables.items()}
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


@pytest.mark.skipif(not THOROUGH, reason="one by one for the thorough, together in the next test")
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_environment_does_not_matter(first, tmp_path, name):
    assert differences(first, build("model/cartpole.zip", tmp_path, ROOT, **SURROUNDINGS[name])) == []


def test_nothing_around_a_build_matters(first, tmp_path):
    """
    Another environment, working directory and umask, the source in another place and of another age; and in the way an
    older package of another source, of which nothing may stay.
    """
    source, out = tmp_path / "elsewhere" / "cartpole.zip", tmp_path / "out"
    source.parent.mkdir()
    source.write_bytes((ROOT / "model" / "cartpole.zip").read_bytes())
    os.utime(source, (0, 0))
    assert differences(first, build("model/pendulum.zip", out, ROOT, **TOGETHER))
    assert differences(first, build(source, out, tmp_path, umask=0o077, **TOGETHER)) == []
