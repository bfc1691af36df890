"""
Every hostile file, straight against the readers.
"""

import json
import os
import subprocess
import sys
import time
import zipfile
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest

from compiler.errors import CheckpointError
from compiler.readers.archive import Archive, is_archive
from compiler.readers.pickle_machine import decode
from compiler.readers.tensors import read_tensors
from tests.hostile.case import MARKER, TRIPWIRE, HostileCase
from tests.hostile.make import HOSTILE
from tests.hostile.peak import run as peak_of

NEEDED = ("observation_space", "action_space", "policy_class", "policy_kwargs")
SECONDS, KIBIBYTES = 5, 512 * 1024
ROOT = Path(__file__).parents[2]


def read(case: HostileCase, data: bytes) -> None:
    """
    What the frontends do with such a file, up to where meaning begins.
    """
    if case.reader in ("pickle", "vecnormalize"):
        decode(data, case.file)
    elif case.reader == "tensors" or not is_archive(data):
        read_tensors(data, case.file)
    else:
        archive = Archive.open(data, case.file)
        contents = {name: archive.read(name) for name in archive.names}
        read_tensors(contents["policy.pth"], f"{case.file}: policy.pth")
        fields = json.loads(bytes(contents["data"]))
        for name in NEEDED:
            if ":serialized:" in (fields[name] or {}):
                decode(b64decode(fields[name][":serialized:"]), f"{case.file}: data.{name}")


@pytest.mark.parametrize("name", HOSTILE)
def test_is_refused_without_being_executed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = HOSTILE[name]
    data = case.make()
    assert data == case.make()
    monkeypatch.chdir(tmp_path)
    modules = set(sys.modules)
    started = time.process_time()
    if case.by == "reader":
        with pytest.raises(CheckpointError) as refused:
            read(case, data)
        message = str(refused.value)
        assert case.file in message
        assert [word for word in case.words if word.lower() not in message.lower()] == [], message
        assert message.isascii()
        assert message.isprintable() or "\n" in message
        assert len(message) < 20_000
    else:
        read(case, data)
    assert time.process_time() - started < SECONDS
    assert not (tmp_path / MARKER).exists()
    assert TRIPWIRE not in sys.modules
    imported = set(sys.modules) - modules
    assert {module for module in imported if not module.startswith(("compiler", "numpy", "encodings"))} == set()


def unpickled(data: bytes) -> bytes:
    """
    The pickle that a loader would execute first.
    """
    if not is_archive(data):
        return data
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return archive.read("archive/data.pkl")


@pytest.mark.parametrize("name", [name for name, case in HOSTILE.items() if case.fires])
def test_payload_is_real(name: str, tmp_path: Path) -> None:
    code = "import pickle, sys; sys.path.append(sys.argv[1]); pickle.load(sys.stdin.buffer)"
    pickled = unpickled(HOSTILE[name].make())
    subprocess.run(
        [sys.executable, "-c", code, str(ROOT)],
        input=pickled,
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (tmp_path / MARKER).exists()


HEAVY = (
    "bomb-declared", "bomb-half-declared", "bomb-undeclared", "bomb-in-bomb", "deep", "deep-within-limits", "memo-bomb",
    "late-bomb", "colliding-keys", "huge-memo-index", "stride-0", "copies", "stream-of-2-gib",
)  # fmt: skip


@pytest.mark.parametrize("name", HEAVY)
def test_memory_stays_bounded(name: str, tmp_path: Path) -> None:
    (tmp_path / "hostile").write_bytes(HOSTILE[name].make())
    code = (
        "import sys; from pathlib import Path; from compiler.errors import CheckpointError; "
        "from compiler.readers.files import read_file; from tests.hostile.case import HostileCase; "
        "from tests.hostile.test_readers_refuse import read; data = read_file(Path('hostile'))\n"
        "try:\n    read(HostileCase(0, 'x', bytes, reader=sys.argv[1]), data)\n"
        "except CheckpointError:\n    sys.exit(3)"
    )
    command = [sys.executable, "-c", code, HOSTILE[name].reader]
    status, said, peak = peak_of(command, tmp_path, {**os.environ, "PYTHONPATH": str(ROOT)})
    assert status == 3, said
    assert peak < KIBIBYTES, f"{peak} KiB"
