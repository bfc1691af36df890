"""
What `policyc` prints, where, and with which exit status.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import compiler
from compiler import BuildOptions, CheckpointError, codegen, modelfile, package, pipeline
from compiler.cli import cli
from compiler.cli import commands as command_line
from compiler.cli.common import printable
from compiler.cli.dataclass_options import documentation
from compiler.cli.display import plain
from compiler.frontends.sb3.vecnormalize import STATISTICS_UNKNOWN
from compiler.pipeline import stage_names
from tests import stand_in
from tests.hostile.assemble import assemble
from tests.hostile.policies import sb3_zip, vecnormalize

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def numpy_predictors(monkeypatch):
    stand_in.install(monkeypatch)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """
    A policy as a model file, which needs no frontend.
    """
    path = tmp_path / "agent.bin"
    path.write_bytes(modelfile.encode(stand_in.policy()).data)
    return path


def run(*arguments, status=0):
    result = CliRunner().invoke(cli, [os.fsdecode(argument) for argument in arguments], prog_name="policyc")
    assert result.exit_code == status, result.output
    return result


def build(source, out, *more, status=0):
    return run("build", source, "--out", out, "--verify-observations", "20", *more, status=status)


def test_build_prints_a_plain_account(source, tmp_path):
    result = build(source, tmp_path / "out")
    lines = result.stdout.splitlines()
    assert lines[0] == str(tmp_path / "out" / "agent")
    assert re.search(r"^layer +op +shapes +parameters +bytes +multiply-adds$", result.stdout, re.MULTILINE)
    assert re.search(r"^pi\.0 +dense \+ tanh +4 to 8 +40 +320 +32 *$", result.stdout, re.MULTILINE)
    assert re.search(r"^total +139 +1,472 +120 *$", result.stdout, re.MULTILINE)
    assert "left out: 4 tensors with 49 values that no action depends on: vf (40), value_net (9)" in lines
    assert "assumed: the activation is Tanh" in lines
    assert re.search(r"^verified: \d+ observations, .*; of a score \d\.\de-\d\d of the largest; ", lines[-2])
    assert re.search(r"^speed: [\d,]+ ns per call of act; built in \d+\.\d s; the model file has ", lines[-1])
    assert re.search(r"; the model file has [\d,]+ bytes, the workspace [\d,]+$", lines[-1])
    assert result.stderr == ""
    assert result.stdout.isascii()
    assert all(character.isprintable() or character == "\n" for character in result.stdout)


def test_build_prints_one_json_document(source, tmp_path):
    result = build(source, tmp_path / "out", "--json", "--lanes", "8")
    document = json.loads(result.stdout)
    assert set(document) == {
        *("path", "options", "source", "layers", "dropped", "assumptions", "verification"),
        *("nanoseconds_per_call", "seconds", "bytes", "workspace", "totals"),
    }
    assert document["options"] == {"lanes": 8, "verify_observations": 20}
    assert document["layers"][0]["name"] == "pi.0"
    assert document["totals"]["parameters"] == 139
    assert result.stderr == ""


def test_every_build_option_is_on_the_command_line():
    help_text = " ".join(run("build", "--help").output.split())
    texts = documentation(BuildOptions)
    assert list(texts) == [option.name for option in fields(BuildOptions)]
    for name, text in texts.items():
        assert f"--{name.replace('_', '-')}" in help_text
        assert " ".join(text.split(":")[0].split()) in help_text


def test_options_reach_the_build(source, tmp_path, monkeypatch):
    seen = {}

    def record(path, **settings):
        seen.update(settings)
        raise CheckpointError(path, "enough")

    monkeypatch.setattr(command_line, "build", record)
    arguments = (
        *("--strict", "--nonfinite", "propagate", "--activation", "ReLU", "--observation-shape", "3,84,84"),
        *("--action-low", "-1,-2.5", "--no-squash-output", "--name", "mine"),
    )
    build(source, tmp_path, *arguments, status=3)
    assert seen["name"] == "mine"
    assert seen["out"] == tmp_path
    assert seen["options"] == BuildOptions(
        strict=True,
        nonfinite="propagate",
        verify_observations=20,
        activation="ReLU",
        observation_shape=(3, 84, 84),
        action_low=(-1.0, -2.5),
        squash_output=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lanes", "3"], "lanes must be one of 1, 4, 8, 16, found 3"),
        (["--lanes", "many"], "'many' is not a valid integer"),
        (["--action-low", "1,x"], "'1,x' is not numbers divided by commas"),
        (["--observation-shape", "1.5"], "'1.5' is not integers divided by commas"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage_is_status_2(source, tmp_path, arguments, message):
    result = build(source, tmp_path / "out", *arguments, status=2)
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_refusals_are_status_3_with_one_message(tmp_path):
    result = build(tmp_path / "missing.zip", tmp_path, status=3)
    assert result.stdout == ""
    assert result.stderr.startswith("policyc: ")
    assert "can't be opened" in result.stderr
    assert result.stderr.count("\n") == 1
    assert build(tmp_path / "missing.zip", tmp_path, "--name", "a b", status=3).stderr == (
        "policyc: name: must be an identifier of ASCII letters, digits and _ and no keyword, found 'a b'\n"
    )


def test_a_traceback_is_shown_when_asked_for(tmp_path):
    result = build(tmp_path / "missing.zip", tmp_path, "--traceback", status=3)
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.splitlines()[-1].startswith("policyc: ")


def test_unexpected_errors_ask_for_a_report(source, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("a \x1b[31mred\x1b[0m surprise")

    monkeypatch.setattr(codegen, "render", fail)
    result = build(source, tmp_path / "out", status=1)
    assert result.stderr.splitlines() == [
        r"policyc: internal error: RuntimeError: a \x1b[31mred\x1b[0m surprise",
        "policyc: please report it, with what the same command prints with --traceback",
    ]
    shown = build(source, tmp_path / "out", "--traceback", status=1).stderr
    assert "Traceback" in shown
    assert "please report" not in shown
    assert not (tmp_path / "out").exists()


def test_an_interrupt_is_status_130(source, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(codegen, "render", interrupt)
    assert build(source, tmp_path / "out", status=130).stderr == "policyc: interrupted\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", stage_names())
def test_inspect_shows_the_model_after_a_pass(source, name):
    model = dict(pipeline.stages(stand_in.policy(), BuildOptions()))[name]
    text = run("inspect", source, "--after", name).stdout
    assert text.startswith(f"{model}\n\nlayer ")
    assert "assumed: the activation is Tanh" in text


@pytest.fixture
def statistics(tmp_path: Path) -> Path:
    """
    A file of VecNormalize for a `normalised` agent.
    """
    path = tmp_path / "some folder" / "vecnormalize.pkl"
    path.parent.mkdir()
    path.write_bytes(assemble(vecnormalize(), 4))
    return path


@pytest.fixture
def normalised(tmp_path: Path) -> Path:
    """
    An agent whose file shows that it was trained with VecNormalize.
    """
    path = tmp_path / "normalised.zip"
    path.write_bytes(sb3_zip(_last_original_obs=[0]))
    return path


def test_statistics_that_are_missing_are_warned_of_on_standard_error(normalised, statistics):
    for arguments in ([], ["--json"], ["--after", "read"]):
        result = run("inspect", normalised, *arguments)
        assert result.stderr == f"policyc: warning: {STATISTICS_UNKNOWN}\n"
        assert run("inspect", normalised, "--vecnormalize", statistics, *arguments).stderr == ""
    assert "--vecnormalize FILE" in run("inspect", normalised, "--strict", status=3).stderr
    run("inspect", normalised, "--strict", "--vecnormalize", statistics)


def test_a_build_warns_of_missing_statistics(source, tmp_path):
    model = stand_in.policy()
    origin = replace(model.origin, assumptions=(STATISTICS_UNKNOWN,))
    source.write_bytes(modelfile.encode(replace(model, origin=origin)).data)
    assert build(source, tmp_path / "out").stderr == f"policyc: warning: {STATISTICS_UNKNOWN}\n"
    assert json.loads(build(source, tmp_path / "out", "--json").stdout)["assumptions"] == [STATISTICS_UNKNOWN]


@pytest.mark.parametrize("after", ["read", stage_names()[-1]])
def test_inspect_shows_which_statistics_are_compiled_in(normalised, statistics, after):
    arguments = ("inspect", normalised, "--vecnormalize", statistics, "--after", after)
    digest = package.sha256(statistics.read_bytes())
    text = run(*arguments).stdout
    assert f"\nnormalised: observation; by the VecNormalize file with the SHA-256 {digest}\n" in text
    assert re.search(r"^vecnormalize +normalize +3 to 3 +6 +48 +0 *$", text, re.MULTILINE)
    document = json.loads(run(*arguments, "--json").stdout)
    assert document["source"]["vecnormalize"] == digest
    assert document["assumptions"] == []


def test_inspect_shows_that_statistics_are_of_rewards_alone(normalised, statistics):
    statistics.write_bytes(assemble(vecnormalize(norm_obs=False), 4))
    text = run("inspect", normalised, "--vecnormalize", statistics, "--strict").stdout
    assert "\nnormalised: nothing, as its norm_obs is false; by the VecNormalize file with" in text


def test_statistics_without_a_checkpoint_to_compare_with_are_wrong_usage(source, tmp_path, statistics):
    build(source, tmp_path / "out")
    result = run("verify", tmp_path / "out" / "agent", "--vecnormalize", statistics, status=2)
    assert "--vecnormalize goes with --against" in result.stderr


def test_inspect_shows_the_last_by_default(source):
    last = run("inspect", source).stdout
    assert last == run("inspect", source, "--after", stage_names()[-1]).stdout
    assert last != run("inspect", source, "--after", "read").stdout


def test_inspect_lists_the_passes_on_an_unknown_one(source):
    result = run("inspect", source, "--after", "magic", status=2)
    assert f"'magic' is not one of {', '.join(stage_names())}" in " ".join(result.stderr.split())


def test_inspect_prints_one_json_document(source):
    document = json.loads(run("inspect", source, "--after", "read", "--json").stdout)
    assert document["after"] == "read"
    assert document["passes"] == stage_names()
    assert document["model"] == str(stand_in.policy()).splitlines()
    assert document["totals"]["parameters"] == sum(layer["parameters"] for layer in document["layers"])


def test_verify_prints_what_was_compared(source, tmp_path):
    build(source, tmp_path / "out")
    text = run("verify", tmp_path / "out" / "agent").stdout
    assert text.splitlines()[0] == str(tmp_path / "out" / "agent")
    assert text.splitlines()[1].startswith("verified: ")
    document = json.loads(run("verify", tmp_path / "out" / "agent", "--json").stdout)
    assert set(document) == {"path", "against", "verification", "source"}
    assert document["source"] is None
    (tmp_path / "out" / "agent" / "__init__.py").write_text("")
    assert "was changed after the build" in run("verify", tmp_path / "out" / "agent", status=3).stderr


def test_hostile_names_move_no_cursor(tmp_path):
    hostile = stand_in.policy()
    evil = "\x1b[2J[bold red]evil[/]\n\u202e"
    nodes = tuple(replace(node, name=evil) for node in hostile.nodes)
    renamed = replace(hostile, nodes=nodes, origin=replace(hostile.origin, assumptions=(evil,)))
    path = tmp_path / "agent.bin"
    path.write_bytes(modelfile.encode(renamed).data)
    for text in (build(path, tmp_path / "out").stdout, run("inspect", path).stdout):
        assert text.isascii()
        assert "\x1b" not in text
        assert r"\x1b[2J[bold red]evil[/]" in text


def test_texts_are_escaped():
    assert plain("mlp_extractor.policy_net.0") == "mlp_extractor.policy_net.0"
    assert plain("a\nb") == r"'a\nb'"
    assert plain("it's") == '"it\'s"'
    assert plain("x" * 200) == "'" + "x" * 76 + "..."
    assert printable("é\x1b\udcff\n") == "é\\x1b\\udcff\n"


def test_odd_file_names_are_no_problem(tmp_path):
    path = tmp_path / "\udcff ✓\x1b.bin"
    path.write_bytes(modelfile.encode(stand_in.policy()).data)
    assert build(path, tmp_path / "out").stdout.splitlines()[0] == str(tmp_path / "out" / "policy")
    path.write_bytes(b"nonsense")
    assert r"\udcff ✓\x1b.bin" in build(path, tmp_path / "out", status=3).stderr


def test_a_terminal_gets_progress_and_a_pipe_does_not(source, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "comparing it with its source" in build(source, tmp_path / "out").stderr
    assert build(source, tmp_path / "out", "--json").stderr == ""


def test_version_and_help():
    assert run("--version").output == f"policyc, version {compiler.__version__}\n"
    assert "build" in run("--help").output
    assert "--traceback" in run("verify", "-h").output


def call(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "compiler.cli", *map(str, arguments)], cwd=ROOT, capture_output=True, **settings
    )


def test_the_module_is_the_command(tmp_path):
    done = call("inspect", tmp_path / "missing.zip", text=True)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("policyc: ")
    assert "Traceback" not in done.stderr


def test_output_survives_a_poor_encoding_and_a_closed_pipe(source):
    path = source.with_name("é\udcff.bin")
    path.write_bytes(b"nonsense")
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    done = call("inspect", path, env=ascii_only)
    assert done.returncode == 3
    assert rb"\udcff.bin: expected" in done.stderr
    script = f"{sys.executable} -m compiler.cli inspect {source} | true"
    piped = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Traceback" not in piped.stderr
