"""
The processes that translate kernels.
"""

import inspect

import pytest

from compiler.errors import BuildError
from compiler.targets import objects
from compiler.targets.machines import find, for_cpu

EXPORTS = """
def act(given: int) -> int:
    return given + 1
"""
PACKAGE = {"__init__.py": "", "lowering.py": "", "exports.py": EXPORTS}


@pytest.fixture
def translate():
    """
    The function itself, without what conftest.py keeps of earlier translations.
    """
    return inspect.unwrap(objects.translate)


def test_a_function_becomes_an_object_file(translate, tmp_path):
    (found,) = translate(tmp_path, {"": PACKAGE}, "agent", ["act"], for_cpu(find("aarch64-linux-gnu"), None))
    data = found.read_bytes()
    assert data.startswith(b"\x7fELF")
    assert b"agent__act\0" in data
    assert str(tmp_path).encode() not in data


@pytest.mark.parametrize("name", ["numba.py", "compiler.py", "json.py"])
def test_nothing_is_imported_from_the_working_directory(translate, name, tmp_path, monkeypatch):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / name).write_text(f"open({str(stranger / 'executed')!r}, 'w')")
    monkeypatch.chdir(stranger)
    translate(tmp_path, {"": PACKAGE}, "agent", ["act"], find("riscv64-linux-gnu"))
    assert not (stranger / "executed").exists()


def test_a_failure_says_what_numba_said(translate, tmp_path):
    broken = {**PACKAGE, "exports.py": "def act(given: int) -> int:\n    return given.size\n"}
    with pytest.raises(BuildError, match=r"riscv64-linux-gnu: the kernels can't be translated:(.|\n)*size"):
        translate(tmp_path, {"": broken}, "agent", ["act"], find("riscv64-linux-gnu"))


def test_one_level_that_fails_fails_the_build(translate, tmp_path):
    triple = for_cpu(find("x86_64-linux-gnu"), None)
    first, *others = (level.suffix for level in triple.levels)
    broken = {**PACKAGE, "exports.py": "def act(given: int) -> int:\n    return given.size\n"}
    packages = {first: broken, **dict.fromkeys(others, PACKAGE)}
    assert len(packages) == 3
    with pytest.raises(BuildError, match=r"x86_64-linux-gnu: the kernels can't be translated:(.|\n)*size"):
        translate(tmp_path, packages, "agent", ["act"], triple)
