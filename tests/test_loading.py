"""
Importing: light for the compiler, without traces for verification, under its own name for the user.
"""

import importlib
import linecache
import subprocess
import sys

import numpy as np
import pytest

import compiler
from compiler import (
    BuildError,
    pipeline,
)
from tests import stand_in
from tests.stand_in import build


@pytest.fixture(autouse=True)
def numpy_predictors(monkeypatch):
    stand_in.install(monkeypatch)


OBSERVATION = np.array([0.1, 0.2, 0.3, 0.4], np.float32)


def test_importing_the_compiler_is_light():
    script = (
        "import sys, compiler; compiler.BuildOptions; "
        "print({'numba', 'torch', 'jinja2', 'capnp', 'click', 'rich'} & set(sys.modules)); "
        "compiler.build; print({'numba', 'torch', 'stable_baselines3', 'click', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\nset()\n"


def test_the_public_names():
    assert compiler.build is pipeline.build
    assert compiler.load_model is pipeline.load_model
    assert all(hasattr(compiler, name) for name in compiler.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        compiler.nothing  # noqa: B018


def test_load_imports_fresh_under_its_own_name(tmp_path):
    path = list(sys.path)
    first_build, second_build = build(tmp_path, name="my_agent"), build(tmp_path / "other", name="my_agent")
    first = first_build.load()
    try:
        assert first.__name__ == "my_agent"
        assert type(first.act(OBSERVATION)) is int
        assert sys.modules["my_agent"] is first
        second = second_build.load()
        assert second is not first
        # Modules that the first one imports later must not be those of the second.
        assert sys.modules["my_agent"] is first
        assert sys.modules["my_agent_2"] is second
        assert sys.path == path
    finally:
        sys.modules.pop("my_agent")
        sys.modules.pop("my_agent_2", None)


@pytest.mark.parametrize("name", ["json", "wave"])  # imported already; not imported yet
def test_load_takes_no_name_from_another_module(tmp_path, name):
    found = build(tmp_path, name=name)
    assert (name in sys.modules) is (name == "json")
    try:
        assert {"name": name} == found.load().SPEC
        assert {"name": name} == sys.modules[f"{name}_2"].SPEC
        assert not hasattr(importlib.import_module(name), "SPEC")
    finally:
        sys.modules.pop(f"{name}_2", None)


def test_a_package_that_cannot_be_imported_leaves_no_module(tmp_path):
    found = build(tmp_path, name="my_agent")
    (found.path / "__init__.py").write_text("raise OSError(1)")
    with pytest.raises(BuildError, match="'my_agent': can't be imported: OSError"):
        found.load()
    assert "my_agent" not in sys.modules


def test_verification_leaves_no_trace_of_the_temporary_folder(tmp_path):
    before = set(sys.modules)
    build(tmp_path)
    assert {name for name in set(sys.modules) - before if "policyc_package" in name or name == "agent"} == set()
    assert [key for key in sys.path_importer_cache if str(tmp_path) in key] == []
    assert [key for key in linecache.cache if str(tmp_path) in key] == []
