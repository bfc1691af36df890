"""
What users get: the wheel works outside the checkout without torch and SB3; a predictor needs numpy and numba alone.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.generated_code.compile_check import ROOT

pytestmark = pytest.mark.slow

# Prints an action, its kind, and which modules of others came in with the predictor.
ASK = """
import json, sys
from {package} import act, predict
action, state = predict([0.03, -0.2, 0.04, 0.3])
print(json.dumps({{
    "action": int(action), "dtype": str(action.dtype), "shape": action.shape, "state": state,
    "act": act([0.03, -0.2, 0.04, 0.3]),
    "foreign": sorted({{"torch", "stable_baselines3", "capnp", "jinja2", "compiler"}} & set(sys.modules)),
}}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """
    Runs a command away from the checkout; its output.
    """
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def fresh_environment(folder: Path, *requirements: str | Path) -> Path:
    """
    A virtual environment that sees nothing but these requirements, pinned; its folder of executables.
    """
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    executables = folder / ("Scripts" if os.name == "nt" else "bin")
    install = (executables / "python", "-m", "pip", "install", "--quiet", "--no-compile")
    run(*install, "--constraint", ROOT / "constraints.txt", *requirements, cwd=folder)
    return executables


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """
    The wheel, built from the source distribution: what is missing there is missing here.
    """
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def built(wheel, tmp_path_factory) -> Path:
    """
    A package that the installed command compiled from the CartPole agent.
    """
    folder = tmp_path_factory.mktemp("user")
    executables = fresh_environment(folder / "venv", wheel)
    for absent in ("torch", "stable_baselines3", "gymnasium"):
        run(executables / "python", "-c", f"import importlib.util as u; assert not u.find_spec('{absent}')", cwd=folder)
    shutil.copy(ROOT / "model" / "cartpole.zip", folder)
    run(executables / "policyc", "build", "cartpole.zip", "--out", "out", cwd=folder)
    answer = json.loads(run(executables / "python", "-c", ASK.format(package="out.cartpole"), cwd=folder))
    assert answer["foreign"] == []
    return folder / "out" / "cartpole"


def test_the_wheel_has_schemas_and_templates(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder in ("schemas", "templates"):
        expected = {
            f"compiler/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / folder).rglob("*") if path.is_file()
        }
        assert expected
        assert expected <= names
    assert not any(name.startswith(("tests/", "schemas/", "templates/", "generated/")) for name in names)


def test_the_installed_command_builds_what_is_checked_in(built):
    for path in (ROOT / "generated" / "cartpole").rglob("*.py"):
        assert (built / path.relative_to(ROOT / "generated" / "cartpole")).read_bytes() == path.read_bytes()


def test_a_predictor_needs_numpy_and_numba_alone(built, tmp_path):
    executables = fresh_environment(tmp_path / "venv", "numpy", "numba")
    shutil.copytree(built, tmp_path / "cartpole", ignore=shutil.ignore_patterns("__pycache__"))
    listed = json.loads(run(executables / "python", "-m", "pip", "list", "--format", "json", cwd=tmp_path))
    assert {row["name"] for row in listed} - {"pip", "setuptools"} == {"llvmlite", "numba", "numpy"}
    answer = json.loads(run(executables / "python", "-c", ASK.format(package="cartpole"), cwd=tmp_path))
    assert answer == {"action": 1, "dtype": "int64", "shape": [], "state": None, "act": 1, "foreign": []}
