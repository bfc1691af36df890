"""
The check of generated/ finds what it is made to find.
"""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import compiler
from tests.generated_code import compile_check
from tests.generated_code.compile_check import ROOT, check, differences, never_compiled, packages_in, replay
from tests.thorough import THOROUGH

PACKAGES = [path.name for path in packages_in(ROOT / "generated")]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """
    Two equal folders with a text, a binary and a nested file.
    """
    left, right = tmp_path / "left", tmp_path / "right"
    (left / "inner").mkdir(parents=True)
    (left / "kernels.py").write_bytes(b"one\ntwo\nthree\n")
    (left / "model.bin").write_bytes(bytes(range(256)))
    (left / "inner" / "text.json").write_bytes(b"{}\n")
    shutil.copytree(left, right)
    return left, right


def test_equal_folders_do_not_differ(pair):
    left, right = pair
    (right / "__pycache__").mkdir()
    (right / "__pycache__" / "kernels.pyc").write_bytes(b"left by an import")
    assert differences(left, right) == []


def test_changed_text_shows_a_unified_diff(pair):
    left, right = pair
    (right / "kernels.py").write_bytes(b"one\n2\nthree\n")
    [text] = differences(left, right)
    assert text.splitlines()[:2] == ["--- checked in: kernels.py", "+++ rebuilt: kernels.py"]
    assert "-two" in text.splitlines()
    assert "+2" in text.splitlines()


def test_long_diff_is_cut(pair):
    left, right = pair
    (right / "kernels.py").write_text("".join(f"{number}\n" for number in range(1000)))
    [text] = differences(left, right)
    assert len(text.splitlines()) == compile_check.LONGEST_DIFF_LINES + 1
    assert text.endswith("more lines")


def test_line_ends_count(pair):
    left, right = pair
    (right / "kernels.py").write_bytes(b"one\r\ntwo\nthree\n")
    assert differences(left, right) == [
        "kernels.py: 14 bytes checked in, 15 rebuilt, first difference at byte 3",
    ]


def test_changed_binary_shows_the_first_offset(pair):
    left, right = pair
    content = bytearray(range(256))
    content[200] ^= 1
    (right / "model.bin").write_bytes(content + b"tail")
    assert differences(left, right) == [
        "model.bin: 256 bytes checked in, 260 rebuilt, first difference at byte 200",
    ]


def test_truncated_binary_differs_at_its_end(pair):
    left, right = pair
    (right / "model.bin").write_bytes(bytes(range(255)))
    assert differences(left, right) == ["model.bin: 256 bytes checked in, 255 rebuilt, first difference at byte 255"]


def test_missing_and_additional_files_are_named(pair):
    left, right = pair
    (right / "inner" / "text.json").unlink()
    (right / "new.py").write_bytes(b"")
    assert differences(left, right) == [
        "inner/text.json: checked in, but not rebuilt",
        "new.py: rebuilt, but not checked in",
    ]


def test_checkpoints_without_a_package_are_found(tmp_path):
    for name in ("known.zip", "new.pth", "notes.txt"):
        (tmp_path / name).touch()
    package = tmp_path / "known"
    package.mkdir()
    (package / "manifest.json").write_text('{"source": {"file": "known.zip"}}')
    assert never_compiled([package], tmp_path) == ["new.pth"]


@pytest.mark.parametrize("name", ["cartpole", "pendulum"])
def test_replay_accepts_the_recorded_answers_alone(name):
    golden = ROOT / "tests" / "golden" / f"{name}.npz"
    with np.load(golden) as arrays:
        observations, actions, scores = arrays["observations"], arrays["actions"], arrays["scores"]
    answers = {row.tobytes(): index for index, row in enumerate(observations)}

    def predict(observation):
        rows = np.atleast_2d(observation)
        found = actions[[answers[row.tobytes()] for row in rows]]
        return (found if observation.ndim == 2 else found[0]), None

    honest = SimpleNamespace(predict=predict, act=lambda row: predict(row)[0], scores=lambda rows: scores)
    assert replay(honest, golden) == []

    # Forgetting an activation moves scores long before it moves an argmax.
    bent = SimpleNamespace(**{**vars(honest), "scores": lambda rows: scores * np.float32(1.001)})
    [text] = replay(bent, golden)
    assert text.startswith(f"{name}.npz: scores of the batch: ")

    opposite = 1 - actions if actions.dtype == np.int64 else -actions
    wrong = SimpleNamespace(**{**vars(honest), "act": lambda row: opposite[answers[row.tobytes()]]})
    [text] = replay(wrong, golden)
    assert text.startswith(f"{name}.npz: act of each alone: ")

    wide = SimpleNamespace(**{**vars(honest), "predict": lambda rows: (predict(rows)[0].astype("f8"), None)})
    assert [text.partition(" returns ")[2] for text in replay(wide, golden)] == [
        f"float64, SB3 returned {actions.dtype}"
    ] * 2


def test_the_agents_are_checked_in():
    assert {"cartpole", "pendulum"} <= set(PACKAGES)


@pytest.mark.slow
@pytest.mark.skipif(not THOROUGH, reason="`nox -s compile-check` looks at all")
@pytest.mark.parametrize("name", PACKAGES)
def test_checked_in_packages_are_current(name):
    assert check(ROOT / "generated" / name) == []


@pytest.mark.slow
def test_tampering_with_a_package_is_found(tmp_path):
    package = tmp_path / "cartpole"
    shutil.copytree(ROOT / "generated" / "cartpole", package)
    module = package / "__init__.py"
    module.write_bytes(module.read_bytes() + b"# tampered\n")
    [text] = check(package)
    assert "-# tampered" in text.splitlines()


def test_check_rebuilds_with_the_options_of_the_manifest(tmp_path, monkeypatch):
    package, sources = tmp_path / "generated" / "agent", tmp_path / "model"
    package.mkdir(parents=True)
    sources.mkdir()
    (sources / "source.zip").write_bytes(b"a checkpoint")
    manifest = {"source": {"file": "source.zip"}, "options": {"lanes": 8, "observation_shape": [2, 3]}}
    (package / "manifest.json").write_text(json.dumps(manifest))
    (package / "kernels.py").write_text("lanes = 8\n")
    asked = []

    def build(source: Path, *, out: Path, name: str, **options: object) -> SimpleNamespace:
        asked.append((source, name, options))
        (out / name).mkdir()
        (out / name / "manifest.json").write_text(json.dumps(manifest))
        (out / name / "kernels.py").write_text(f"lanes = {options['lanes']}\n")
        return SimpleNamespace(path=out / name, load=SimpleNamespace)

    monkeypatch.setattr(compiler, "build", build, raising=False)
    assert check(package, sources=sources, goldens=tmp_path) == []
    assert asked == [(sources / "source.zip", "agent", {"lanes": 8, "observation_shape": (2, 3)})]

    (package / "kernels.py").write_text("lanes = 16\n")
    [text] = check(package, sources=sources, goldens=tmp_path)
    assert text.splitlines()[-2:] == ["-lanes = 16", "+lanes = 8"]


def test_a_folder_without_manifest_is_found(tmp_path):
    (tmp_path / "__init__.py").touch()
    [text] = check(tmp_path)
    assert text.startswith("manifest.json: ")


def test_a_source_that_is_gone_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text('{"source": {"file": "gone.zip"}, "options": {}}')
    assert check(tmp_path) == ["manifest.json: source: gone.zip is not in model/"]
