"""
What policies that draw are rendered to; and those that can't draw as they say, which are refused.
"""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler.codegen import SAMPLING
from compiler.errors import UnsupportedError
from compiler.ir import Model, Tensor
from compiler.options import BuildOptions
from tests.generated_code.sampled import POLICIES, STD, drawing, gaussian
from tests.models import policy, sources, write
from tests.policies import WIDE, observing

ROOT = Path(__file__).parents[2]
FILES = ("__init__.py", "predictor.py", "sampling.py", "extras.py")


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    for name, model in POLICIES.items():
        write(folder / name.replace(" ", "_"), model)
    write(folder / "unchecked", POLICIES["noise"], BuildOptions(nonfinite="propagate"))
    return folder


def tool(folder: Path, *arguments: str) -> None:
    found = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=folder)
    assert found.returncode == 0, found.stdout + found.stderr


def test_files_are_linted_and_formatted(packages):
    files = [str(path) for name in FILES for path in packages.glob(f"*/{name}")]
    assert len(files) > 3 * len(POLICIES)
    tool(packages, "ruff", "check", "--no-cache", "--config", str(ROOT / "pyproject.toml"), *files)
    tool(packages, "ruff", "format", "--no-cache", "--check", "--isolated", "--line-length", "120", *files)


@pytest.mark.slow
def test_files_are_typed(packages, mypy_cache):
    settings, names = str(ROOT / "pyproject.toml"), [path.name for path in packages.iterdir()]
    tool(packages, "mypy", "--config-file", settings, "--cache-dir", str(mypy_cache), *names)


def test_only_policies_that_draw_have_the_file():
    assert SAMPLING not in sources(policy(), BuildOptions())
    assert SAMPLING in sources(POLICIES["discrete"], BuildOptions())


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_exported_is_there_and_listed(packages, name):
    folder = packages / name.replace(" ", "_")
    first = ast.parse(folder.joinpath("__init__.py").read_text())
    exported = ast.literal_eval(first.body[-1].value)
    defined = {
        node.name for node in ast.parse(folder.joinpath("predictor.py").read_text()).body if hasattr(node, "name")
    }
    assert set(exported) - {"SPEC"} <= defined
    assert "distribution(observation)" in (ast.get_docstring(first) or "")


def without(model: Model, name: str) -> Model:
    return replace(model, outputs=tuple(output for output in model.outputs if output.name != name))


def reshaped(model: Model, name: str) -> Model:
    """
    The same model with a constant of one row or element less.
    """
    data = model.tensors[name].data
    assert data is not None
    return replace(model, tensors={**model.tensors, name: Tensor.constant(name, np.ascontiguousarray(data[1:]))})


MISFITS = {
    "choices of a Box": (drawing(POLICIES["clipped"], "categorical"), "Box can't be drawn as categorical"),
    "bits of a choice": (drawing(POLICIES["discrete"], "bernoulli"), "Discrete can't be drawn as bernoulli"),
    "a normal choice": (gaussian(observing(WIDE)), "Discrete can't be drawn as gaussian"),
    "epsilon of bits": (drawing(POLICIES["bits"], "epsilon_greedy"), "MultiBinary can't be drawn as epsilon_greedy"),
    "two logits for each bit": (drawing(POLICIES["masked bits"], "bernoulli"), "takes 3 scores, found float32"),
    "one logit for each bit": (drawing(POLICIES["bits"], "categorical"), "takes 0 scores, found float32"),
    "no std": (without(POLICIES["squashed"], "std"), "takes the output 'std'"),
    "no latent": (without(POLICIES["noise"], "latent"), "takes the output 'latent'"),
    "no noise": (without(POLICIES["noise"], "noise_std"), "takes the output 'noise_std'"),
    "fewer std": (
        gaussian(without(POLICIES["clipped"], "std"), std=STD[1:]),
        r"must have the shape \(3,\), found float32\[2\]",
    ),
    "less noise": (reshaped(POLICIES["noise"], "log_std.exp"), r"must have the shape \(8, 3\), found float32\[7, 3\]"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_models_that_cannot_draw_as_they_say_are_refused(name):
    model, message = MISFITS[name]
    with pytest.raises(UnsupportedError, match=rf"agent\.zip: .*{message}"):
        sources(model, BuildOptions())
