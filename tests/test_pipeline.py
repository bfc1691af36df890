"""
A build is the list of its steps: what goes in, what comes out, what is refused.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

import compiler
from compiler import (
    BuildError,
    BuildOptions,
    CheckpointError,
    ModelFileError,
    PolicycError,
    frontends,
    modelfile,
    package,
    passes,
    pipeline,
)
from compiler.ir import Box, Dict, Discrete, DType
from compiler.pipeline import Step, options_from, stage_names, stages
from compiler.report import dropped_between, layers_of
from tests import stand_in
from tests.stand_in import QUICK, build, content


@pytest.fixture(autouse=True)
def numpy_predictors(monkeypatch):
    stand_in.install(monkeypatch)


def test_a_build_is_a_package_with_a_manifest(tmp_path):
    steps: list[Step] = []
    found = build(tmp_path / "out", progress=steps.append)
    assert found.path == tmp_path / "out" / "agent"
    assert steps == list(Step)
    assert set(content(tmp_path)) == {
        "out",
        "out/agent",
        "out/agent/__init__.py",
        "out/agent/manifest.json",
        "out/agent/model.bin",
    }
    manifest = json.loads((found.path / "manifest.json").read_text())
    assert manifest["source"] == {"file": "agent.zip", "sha256": "0" * 64, "format": "sb3-zip"}
    assert manifest["options"] == {"verify_observations": 20}
    assert set(manifest["versions"]) == {"policyc", "numpy", "numba", "llvmlite", "jinja2", "pycapnp"}
    assert manifest["assumptions"] == ["the activation is Tanh"]
    assert manifest["dropped_tensors"] == 4
    assert manifest["verification"]["observations"] == found.report.verification.observations
    assert manifest["verification"]["action_error_below"] == 1e-5
    assert set(manifest["files"]) == {"__init__.py", "model.bin"}
    package.check_files(found.path, manifest)
    assert str(tmp_path) not in (found.path / "manifest.json").read_text()


def test_the_manifest_has_the_layers_for_a_picture(tmp_path):
    found = build(tmp_path / "out")
    text = (found.path / "manifest.json").read_text()
    layers = json.loads(text)["layers"]
    assert [(layer["op"], layer["reads"]) for layer in layers] == [
        ("dense + tanh", []),
        ("dense + tanh", [0]),
        ("dense", [1]),
        ("argmax", [2]),
    ]
    assert layers[0] == {
        "name": "pi.0",
        "op": "dense + tanh",
        "reads": [],
        "inputs": [4],
        "outputs": [8],
        "parameters": 40,
    }
    assert sum('"name": "pi.' in line for line in text.splitlines()) == 2  # one line each


def box(*bounds: float) -> Box:
    high = np.array(bounds, np.float32)
    return Box(DType.FLOAT32, -high, high)


@pytest.mark.parametrize(
    ("space", "bounds"),
    [
        (box(2, 2, 2), {"low": -2.0, "high": 2.0}),
        (box(1, np.inf), {"low": [-1.0, None], "high": [1.0, None]}),
        (box(np.inf, np.inf), {"low": None, "high": None}),
        (box(*range(1, 1002)), {"low": -1001.0, "high": 1001.0}),
        (box(*range(1, 1002), np.inf), {"low": None, "high": None}),
        (Box(DType.UINT8, np.zeros((9, 8, 1), np.uint8), np.full((9, 8, 1), 255, np.uint8)), {"low": 0, "high": 255}),
        (Discrete(3), None),
        (Dict((("speed", box(3)), ("gear", Discrete(5)))), {"speed": {"low": -3.0, "high": 3.0}, "gear": None}),
    ],
)
def test_the_manifest_has_the_bounds_of_observations(space, bounds):
    found = package.bounds_of(space)
    assert json.loads(json.dumps(found)) == bounds


def test_builds_are_the_same_bytes(tmp_path):
    first, second = build(tmp_path / "a"), build(tmp_path / "b")
    assert content(first.path) == content(second.path)


def test_the_report(tmp_path):
    report = build(tmp_path).report
    assert [(layer.name, layer.op, layer.parameters) for layer in report.layers] == [
        ("pi.0", "dense + tanh", 40),
        ("pi.2", "dense + tanh", 72),
        ("action_net", "dense", 27),
        ("mode", "argmax", 0),
    ]
    assert [layer.multiply_adds for layer in report.layers] == [32, 64, 24, 0]
    assert [(group.prefix, group.tensors, group.parameters) for group in report.dropped] == [
        ("vf", 2, 40),
        ("value_net", 2, 9),
    ]
    assert report.nanoseconds_per_call is not None
    assert report.nanoseconds_per_call > 0
    document = report.to_json()
    assert json.loads(json.dumps(document))["totals"]["parameters"] == 139
    assert document["verification"]["near_ties"] == 0


def test_dropped_groups_do_not_cover_what_is_kept():
    source = stand_in.policy()
    names = {name: name.replace("vf.", "pi.value.") for name in source.tensors}
    tensors = {names[name]: replace(tensor, name=names[name]) for name, tensor in source.tensors.items()}
    nodes = tuple(
        replace(
            node,
            inputs=tuple(names[name] for name in node.inputs),
            outputs=tuple(names[name] for name in node.outputs),
        )
        for node in source.nodes
    )
    renamed = source.with_graph(nodes, tensors)
    dropped = dropped_between(renamed, pipeline.run_passes(renamed, QUICK))
    assert [group.prefix for group in dropped] == ["pi.value", "value_net"]


def test_layers_without_a_source_count_what_is_there():
    model = pipeline.run_passes(stand_in.policy(), QUICK)
    assert layers_of(model)[0].parameters == layers_of(model)[0].bytes / 4


def test_a_model_file_builds_the_same_package(tmp_path):
    first = build(tmp_path / "first")
    file = tmp_path / "agent.bin"
    file.write_bytes((first.path / "model.bin").read_bytes())
    second = build(tmp_path / "second", file)
    assert (second.path / "model.bin").read_bytes() == file.read_bytes()
    assert (second.path / "__init__.py").read_bytes() == (first.path / "__init__.py").read_bytes()
    assert compiler.load_model(str(file)) == first.model


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[: len(data) // 2], lambda data: data + b"x"]
)
def test_damaged_model_files_are_called_so(tmp_path, damage):
    file = tmp_path / "agent.bin"
    file.write_bytes(damage(modelfile.encode(stand_in.policy()).data))
    with pytest.raises(ModelFileError) as caught:
        build(tmp_path / "out", file)
    assert caught.value.where == str(file)
    assert "damaged" in str(caught.value)


def test_what_is_neither_is_refused(tmp_path):
    file = tmp_path / "agent.zip"
    with pytest.raises(CheckpointError, match="can't be opened"):
        build(tmp_path / "out", file)
    file.write_bytes(b"something else")
    with pytest.raises(PolicycError):
        build(tmp_path / "out", file)
    assert set(content(tmp_path)) == {"agent.zip"}


def test_checkpoints_go_to_the_frontends_with_the_options(tmp_path, monkeypatch):
    file = tmp_path / "agent.zip"
    file.write_bytes(b"anything")
    seen = []

    def read(path, options, *, asked):
        assert asked is (options.activation == "Tanh")  # a build asks its source, reading a model does not
        seen.append((path, options.activation))
        return stand_in.policy(), None

    monkeypatch.setattr(frontends, "read_with_source", read)
    assert compiler.load_model(file, activation="ReLU") == stand_in.policy()
    build(tmp_path / "out", str(file), options=None, activation="Tanh", verify_observations=5)
    assert seen == [(file, "ReLU"), (file, "Tanh")]


def test_illegal_models_are_refused_after_the_pass_that_made_them(tmp_path, monkeypatch):
    def break_model(model, options):
        return replace(model, outputs=())

    with pytest.raises(ModelFileError, match="the model has no output"):
        build(tmp_path, replace(stand_in.policy(), outputs=()))
    monkeypatch.setattr(passes, "PIPELINE", (*passes.PIPELINE, break_model))
    with pytest.raises(ModelFileError, match="after the pass break_model: the model has no output"):
        build(tmp_path)
    assert content(tmp_path) == {}


def test_stages_are_named(tmp_path):
    found = list(stages(stand_in.policy(), QUICK))
    assert [name for name, _ in found] == stage_names()
    assert stage_names()[0] == "read"
    assert found[0][1] == stand_in.policy()
    assert list(stages(found[-1][1], QUICK))[-1][1] == found[-1][1]  # passes leave a finished model alone


def test_options_come_as_keywords():
    assert options_from({"action_low": [-1.0], "lanes": 8}) == BuildOptions(action_low=(-1.0,), lanes=8)
    with pytest.raises(BuildError, match=r"unknown: 'speed'; there are target, "):
        options_from({"speed": 3})
    with pytest.raises(BuildError, match="lanes must be one of"):
        options_from({"lanes": 3})
