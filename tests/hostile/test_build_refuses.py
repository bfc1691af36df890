"""
Every hostile file through the whole build, and some through the command line.
"""

import importlib
import os
import sys
import time
from pathlib import Path

import pytest

from compiler.errors import PolicycError
from tests.hostile.case import MARKER, TRIPWIRE
from tests.hostile.make import HOSTILE
from tests.hostile.peak import run as peak_of
from tests.hostile.policies import sb3_zip

ROOT = Path(__file__).parents[2]
SECONDS, KIBIBYTES, REFUSED = 5, 512 * 1024, 3
BUILT = [name for name, case in HOSTILE.items() if case.reader == "zip" and case.by == "nobody"]
READ = [name for name, case in HOSTILE.items() if case.reader == "vecnormalize" and case.by == "nobody"]
REFUSABLE = [name for name, case in HOSTILE.items() if case.by != "nobody" and case.reader != "pickle"]
SAMPLE = (
    "reduce", "raw-pickle.pth", "wrong-checksum", "duplicate", "bomb-undeclared", "parent", "stream-of-2-gib", "deep",
    "memo-bomb", "stride-0", "sparse-csr", "nan", "several", "several-options", "sb3-needed-field",
    "vecnormalize-reduce", "vecnormalize-shape",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compiler_is_loaded() -> None:
    """
    Importing Numba takes longer than any refusal may.
    """
    importlib.import_module("compiler.pipeline")


def sources(name: str, file: Path) -> tuple[Path, str | None]:
    """
    What is built, and with which statistics: the file itself, or a sound agent with the file.
    """
    if HOSTILE[name].reader != "vecnormalize":
        return file, None
    agent = file.with_name("agent.zip")
    agent.write_bytes(sb3_zip())
    return agent, str(file)


@pytest.mark.parametrize("name", REFUSABLE)
def test_build_refuses(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import compiler

    case = HOSTILE[name]
    file, out = tmp_path / case.file, tmp_path / "out"
    file.write_bytes(case.make())
    source, statistics = sources(name, file)
    monkeypatch.chdir(tmp_path)
    started = time.process_time()
    with pytest.raises(PolicycError) as refused:
        compiler.build(source, out=out, vecnormalize=statistics)
    assert time.process_time() - started < SECONDS
    message = str(refused.value)
    assert case.file in message
    assert [word for word in case.words if word.lower() not in message.lower()] == [], message
    assert not out.exists() or not any(out.iterdir())
    assert not (tmp_path / MARKER).exists()
    assert TRIPWIRE not in sys.modules


@pytest.mark.parametrize("name", BUILT)
def test_build_succeeds_without_executing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import compiler

    case = HOSTILE[name]
    (tmp_path / case.file).write_bytes(case.make())
    monkeypatch.chdir(tmp_path)
    assert compiler.build(tmp_path / case.file, out=tmp_path / "out").path.exists()
    assert not (tmp_path / MARKER).exists()
    assert TRIPWIRE not in sys.modules


@pytest.mark.parametrize("name", READ)
def test_is_read_without_executing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import compiler

    file = tmp_path / HOSTILE[name].file
    file.write_bytes(HOSTILE[name].make())
    source, statistics = sources(name, file)
    monkeypatch.chdir(tmp_path)
    assert compiler.load_model(source, vecnormalize=statistics).origin.vecnormalize
    assert not (tmp_path / MARKER).exists()
    assert TRIPWIRE not in sys.modules


@pytest.mark.parametrize("name", SAMPLE)
def test_command_line_refuses(name: str, tmp_path: Path) -> None:
    case = HOSTILE[name]
    file, out = tmp_path / case.file, tmp_path / "out"
    file.write_bytes(case.make())
    source, statistics = sources(name, file)
    more = [] if statistics is None else ["--vecnormalize", statistics]
    command = [sys.executable, "-m", "compiler.cli", "build", str(source), "--out", str(out), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "1000"}
    status, said, peak = peak_of(command, tmp_path, environment)
    assert status == REFUSED, said
    assert "Traceback" not in said
    assert case.file in said
    assert [word for word in case.words if word.lower() not in said.lower()] == [], said
    assert peak < KIBIBYTES, f"{peak} KiB"
    assert not out.exists() or not any(out.iterdir())
    assert not (tmp_path / MARKER).exists()
