"""
Executables answer as the model does that they were made of, and are what they should be: small, static, quick.
"""

import json
import os
import re
import select
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from compiler.errors import BuildError
from compiler.pipeline import build
from compiler.targets import bridge, exe, machines
from compiler.verify import verify
from compiler.verify_package import verify_package
from tests.golden.agents import make, save
from tests.golden.predictors import check_answers
from tests.targets import executables
from tests.targets.executables import KINDS, NAME, built, faced
from tests.thorough import THOROUGH, chosen

GOLDENS = ("ppo_dict", "recurrent_two_layers")
EMULATED = {"aarch64-linux-musl": "dict"}
"""
For the thorough: zig compiles the libc of these first.

Every run compiles the program for another system, `OTHER_SYSTEMS`, and asks programs that need no libc under emulators:
test_cross.py.
"""
OTHER_SYSTEMS = {"aarch64-macos": b"\xcf\xfa\xed\xfe"}
"""Linking for Windows takes zig minutes the first time, for the same reason."""
LARGEST = 100_000
"""Bytes that CartPole may take, with kernels for three levels of x86-64."""
GIVEN = [0.1, -0.2, 0.3, -0.4]
RECORDED = Path(__file__).parents[1] / "golden" / "cartpole.npz"


@pytest.mark.parametrize("kind", chosen(KINDS, "cartpole", "dict", "recurrent"))
def test_every_kind_of_policy_answers_as_its_model_does(kind):
    made = built(kind)
    with faced(made) as (predictor, means):
        assert means == "its standard input"
        found = verify(made.source, made.model, predictor, made.options)
    assert found.observations >= executables.OBSERVED
    assert 0 < found.score_error < 1e-5


def test_what_is_not_finite_is_computed_with_if_the_policy_was_built_so():
    made = built("recurrent_discrete", nonfinite="propagate")
    with faced(made) as (predictor, _):
        found = verify(made.source, made.model, predictor, made.options)
    assert found.refused == 0
    (answer,) = made.answers(b'{"observation": [NaN, Infinity, -Infinity, 1], "scores": true}\n')
    assert all(np.isnan(answer["scores"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDENS)
def test_the_answers_are_those_of_sb3(name, tmp_path):
    made = executables.make(tmp_path / "made", save(name, tmp_path), cpu="native")
    with faced(made) as (predictor, _):
        check_answers(make(name), predictor)


def test_recorded_observations_are_answered_as_they_were_recorded():
    recorded = np.load(RECORDED)
    requests = ({"observation": row.tolist(), "scores": True} for row in recorded["observations"])
    answers = built("cartpole").ask(*requests)
    scores, wanted = np.array([answer["scores"] for answer in answers], np.float32), recorded["scores"]
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    decided = np.abs(np.diff(wanted)[:, 0]) > 1e-5 * np.abs(wanted).max()
    actions = np.array([answer["action"] for answer in answers])
    assert decided.mean() > 0.99
    np.testing.assert_array_equal(actions[decided], recorded["actions"][decided])


@pytest.mark.slow
@pytest.mark.skipif(not THOROUGH, reason="zig compiles a libc first, which takes half a minute")
@pytest.mark.parametrize(("triple", "kind"), EMULATED.items())
def test_executables_for_other_processors_answer_under_an_emulator(triple, kind):
    row = machines.find(triple)
    if bridge.emulator_for(row) is None:
        pytest.skip(f"{row.emulator} is not installed")
    made = built(kind, triple=triple)
    with faced(made) as (predictor, means):
        assert means.startswith(row.emulator)
        verify(made.source, made.model, predictor, made.options)
    assert_static(made.path)


@pytest.mark.slow
@pytest.mark.parametrize(("triple", "magic"), OTHER_SYSTEMS.items())
def test_executables_for_other_systems_are_linked_and_their_kernels_asked_here(triple, magic):
    made = built("choice", triple=triple)
    assert made.path.read_bytes().startswith(magic)
    assert (made.path.suffix == ".exe") == ("windows" in triple)
    with faced(made) as (predictor, means):
        assert means.startswith("the same kernels, compiled for")
        verify(made.source, made.model, predictor, made.options)


def assert_static(path):
    with path.open("rb") as file:
        found = ELFFile(file)
        kinds = {segment["p_type"] for segment in found.iter_segments()}
        assert found["e_type"] == "ET_EXEC"
        assert not kinds & {"PT_INTERP", "PT_DYNAMIC"}
        assert not [name for name in (".symtab", ".dynamic", ".debug_info") if found.get_section_by_name(name)]


def test_cartpole_is_small_static_and_names_no_place():
    path = built("cartpole").path
    assert path.stat().st_size < LARGEST
    assert_static(path)
    assert not re.search(rb"/tmp|/home|/root|policyc-exe|[.]c\0|[.]zig\0", path.read_bytes())


def test_two_builds_in_different_folders_are_the_same_bytes(tmp_path):
    other = executables.make(tmp_path / "elsewhere" / "deeper", KINDS["recurrent"](), cpu="native")
    assert other.path.read_bytes() == built("recurrent").path.read_bytes()


def test_an_episode_remembers_forgets_and_goes_on_from_any_state():
    made = built("recurrent")
    seen = np.random.default_rng(1).normal(size=(6, 4)).tolist()
    first, second, *_ = made.ask(*({"observation": row} for row in seen))
    alone, given, forgot, again, broken, after = made.ask(
        {"observation": seen[0], "state": None},
        {"observation": seen[1]},
        {"observation": seen[0], "episode_start": True},
        {"observation": seen[1], "episode_start": False},
        {"observation": [1, 2, 3], "state": None},
        {"observation": seen[2], "state": None},
    )
    state = alone.pop("state")
    assert np.shape(state["hidden"]) == np.shape(state["cell"]) == (2, 6)
    assert (alone, given, forgot, again) == (first, second, first, second)
    assert broken["status"] == -1
    assert after["action"] != given["action"]
    flat = {key: np.ravel(rows).tolist() for key, rows in state.items()}
    third, fourth = made.ask({"observation": seen[1], "state": flat}, {"observation": seen[1], "state": state})
    assert third == fourth
    assert third["action"] == second["action"]


def test_a_refused_request_leaves_the_memory_as_it_was():
    made = built("recurrent")
    one, two = {"observation": GIVEN}, {"observation": GIVEN[::-1]}
    other = {"hidden": [0.5] * 12, "cell": [-0.5] * 12}
    refused = [
        {"observation": [3e38] * 4, "episode_start": True},
        {"observation": [3e38] * 4, "state": None},
        {"observation": [3e38] * 4, "state": other},
        {"observation": GIVEN, "state": other, "more": 1},
    ]
    expected = made.ask(one, two)[1]
    for request in refused:
        _, error, answer = made.ask(one, request, two)
        assert error["status"] < 0
        assert answer == expected


def test_masks_decide():
    made = built("masked")
    first, allowed, only = made.ask(
        {"observation": GIVEN},
        {"observation": GIVEN, "action_masks": [True] * 9},
        {"observation": GIVEN, "action_masks": [0, 1, 0, 0, 1, 1, 0, False, False]},
    )
    assert first == allowed
    assert only["action"] == [1, 2, 0]


def test_each_answer_is_there_before_the_next_request():
    process: Any = subprocess.Popen([built("cartpole").path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    for piece in (b'{"observation": [1, 2,', b" 3, 4]}\n", b"\n" + json.dumps({"observation": GIVEN}).encode() + b"\n"):
        process.stdin.write(piece)
        if piece.endswith(b"\n"):
            assert select.select([process.stdout], [], [], 30)[0]
            assert process.stdout.read(1000).startswith(b'{"action": ')
    assert process.communicate() == (b"", None)
    assert process.returncode == 0


def test_a_reader_that_has_gone_ends_the_program_quietly(tmp_path):
    given = tmp_path / "requests"
    given.write_text((json.dumps({"observation": GIVEN}) + "\n") * 10000)
    read, write = os.pipe()
    os.close(read)
    with given.open("rb") as requests:
        done = subprocess.run(
            [built("cartpole").path], stdin=requests, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False
        )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("kind", ["cartpole", "recurrent"])
def test_the_measurement_says_what_was_measured(kind):
    done = built(kind).run(b"", "--bench", "1000")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["calls"] == 1000
    assert found["nanoseconds_per_call"] > 1
    assert found["processor"] in [level.cpu for level in built(kind).sources.triple.levels]
    if kind == "cartpole":
        assert found["observations_per_second"] > 1
    else:
        assert "batch" not in found


def test_the_program_says_what_it_is():
    made = built("dict")
    version, usage = (made.run(b"", flag).stdout.decode("ascii") for flag in ("--version", "--help"))
    assert made.sources.view.predictor.model_sha256 in version
    assert made.sources.view.version in version
    assert all(word in usage for word in ('"camera"', "pixels from 0 to 255 of shape (1, 8, 9)", "--bench", "-4"))
    assert max(map(len, usage.splitlines())) <= 110
    assert "episode_start" not in usage
    assert "episode_start" in built("recurrent").run(b"", "--help").stdout.decode("ascii")


@pytest.mark.parametrize(
    "arguments",
    [["--what"], ["--help", "more"], ["--bench", "0"], ["--bench", "-1"], ["--bench", "1x"], ["--bench", ""], [""]],
)
def test_unknown_arguments_are_refused(arguments):
    done = built("cartpole").run(b"", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(f"{NAME}: ".encode())
    assert b"--bench" in done.stderr


@pytest.mark.parametrize(("triple", "advice"), [("wasm32", "--target wasm"), ("thumbv7em-none-eabihf", "--target c")])
def test_systems_without_programs_are_refused(triple, advice, tmp_path):
    sources = replace(built("cartpole").sources, triple=machines.find(triple))
    with pytest.raises(BuildError, match=f"{triple}: has no operating system that starts programs: .*{advice}"):
        exe.make(tmp_path, sources)


def test_what_runs_here_needs_no_emulator(monkeypatch):
    here = machines.find(None)
    assert bridge.emulator_for(here) == []
    other = machines.find("riscv64-linux-gnu" if "riscv64" not in here.name else "aarch64-linux-gnu")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert bridge.emulator_for(other) is None
    monkeypatch.setattr(shutil, "which", lambda name: f"/emulators/{name}" if name.endswith("-static") else None)
    assert bridge.emulator_for(other) == [f"/emulators/{other.emulator}-static"]
    assert bridge.emulator_for(machines.find("aarch64-macos")) is None


def test_a_program_that_ends_early_is_told_from_one_that_refuses():
    sources = built("cartpole").sources
    ending = pytest.raises(RuntimeError, match="ended with status 7 instead of answering")
    with bridge.bridged(["/bin/sh", "-c", "read line; exit 7"], sources) as module, ending:
        module.act_one(np.zeros(4, np.float32))


def test_buffers_of_another_kind_are_refused():
    with faced(built("cartpole")) as (predictor, _):
        act = sys.modules[f"{predictor.__name__}._native"].act_one
        for wrong in (np.zeros(4), np.zeros(3, np.float32), np.zeros((1, 4), np.float32), GIVEN, "text"):
            assert act(wrong) == bridge.WRONG_SIZE
        assert act(np.array(GIVEN, np.float32)) in (0, 1)
        assert act(np.array([np.nan, 0, 0, 0], np.float32)) == bridge.NOT_FINITE


def test_an_executable_is_verified_in_a_folder_of_another_name(tmp_path):
    built_here = build(
        executables.CARTPOLE, out=tmp_path, name="agent", target="exe", cpu="native", verify_observations=20
    )
    renamed = built_here.path.rename(tmp_path / "other")
    assert verify_package(renamed).verification.observations >= 20
    manifest = renamed / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "agent"', '"name": "../agent"'))
    with pytest.raises(BuildError, match="must be an identifier"):
        verify_package(renamed)
