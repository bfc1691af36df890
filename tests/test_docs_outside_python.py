"""
The guide to other targets: its files are written and its commands are run, in order, in one folder.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import ROOT, Block, sections, unnumbered

PAGE = ROOT / "docs" / "outside-python.md"
EXAMPLES = sections(PAGE)
FILE = re.compile(r"^(?:# |// |/\* )([\w.]+)(?: \*/)?$", re.MULTILINE)
"""The first line of a file says what it is called."""
TOOLS = {"A library for C": ("cc",), "WebAssembly": ("node",), "Other processors": ("qemu-aarch64-static",)}
"""Programs that a section needs besides those that come with policyc's environment."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    A working directory with the agents, where `policyc` and `python` are this environment's.
    """
    programs = tmp_path / "programs_of_the_test"
    programs.mkdir()
    for name, command in (("policyc", "-m compiler.cli"), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    work = tmp_path / "work"
    work.mkdir()
    for name in ("cartpole.zip", "pendulum.zip"):
        shutil.copy(ROOT / "model" / name, work)
    return work


@pytest.mark.slow
@pytest.mark.parametrize("title", EXAMPLES)
def test_the_examples_print_what_the_page_shows(place, title):
    pytest.importorskip("ziglang", reason="ziglang is not installed")
    for tool in TOOLS.get(title, ()):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    for block in EXAMPLES[title]:
        if block.language == "console":
            run(block, place)
        else:
            (name,) = FILE.findall(block.text.splitlines()[0])
            (place / name).write_text(block.text, encoding="utf-8")


def run(block: Block, place: Path) -> None:
    """
    Runs the commands of a block; what they print must be what the page shows, but for its numbers.
    """
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        done = subprocess.run(["bash", "-ec", command], cwd=place, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{PAGE}:{block.line}: {command}: {done.stderr}"
        assert unnumbered(done.stdout) == unnumbered(shown), f"{PAGE}:{block.line}: {command}"


def test_every_block_of_the_page_is_a_file_or_is_run():
    blocks = [block for section in EXAMPLES.values() for block in section]
    assert {block.language for block in blocks} == {"python", "c", "js", "console"}
