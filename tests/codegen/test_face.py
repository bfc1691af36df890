"""
The Python files of packages whose kernels are functions of `_native`: style, types, and what they import at first.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import codegen, modelfile
from compiler.ir import Discrete
from compiler.options import BuildOptions
from compiler.pipeline import run_passes
from tests import policies
from tests.generated_code.sampled import POLICIES

ROOT = Path(__file__).parents[2]
MODELS = {
    **{name.replace(" ", "_"): model for name, model in POLICIES.items()},
    "parts": policies.observing(policies.PARTS, policies.NARROW),
    "image": policies.observing(policies.IMAGE),
    "choice": policies.observing(Discrete(3)),
    "normalised": policies.normalised(),
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """
    A package with an extension for each model, and `NAME_asked`, as it is when something else has the functions.
    """
    folder = tmp_path_factory.mktemp("faces")
    for name, model in MODELS.items():
        options = BuildOptions(with_value="value" in {output.role for output in model.outputs})
        compiled = run_passes(model, options)
        view, _ = codegen.render_kernels(compiled, modelfile.encode(compiled), options, name, 16, blocks=True)
        for package, extension in ((name, True), (f"{name}_asked", False)):
            (folder / package).mkdir()
            for file, text in codegen.render_face(view, extension=extension).items():
                (folder / package / file).write_text(text, "utf-8")
    return folder


def tool(folder: Path, *arguments: str) -> None:
    found = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=folder, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_faces_are_linted_and_formatted(faces):
    tool(faces, "ruff", "check", "--no-cache", "--config", str(ROOT / "pyproject.toml"), ".")
    tool(faces, "ruff", "format", "--no-cache", "--check", "--isolated", "--line-length", "120", ".")


@pytest.mark.slow
def test_faces_are_typed(faces, mypy_cache):
    names = [argument for name in MODELS for argument in ("-p", name)]
    tool(faces, "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(mypy_cache), *names)


@pytest.mark.parametrize("name", MODELS)
def test_the_package_with_an_extension_imports_nothing_else_at_first(faces, name):
    tree = ast.parse((faces / name / "__init__.py").read_text("utf-8"))
    imports = [statement.module for statement in tree.body if isinstance(statement, ast.ImportFrom)]
    assert imports == ([] if "recurrent" in name else ["_native"])
    assert not any(isinstance(statement, ast.Import) for statement in tree.body)
