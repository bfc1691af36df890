"""
A build ends with a complete package in its place, or with everything as it was.
"""

import importlib
import json
import linecache
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler import (
    BuildError,
    BuildOptions,
    CheckpointError,
    ModelFileError,
    PolicycError,
    VerificationError,
    codegen,
    frontends,
    loading,
    modelfile,
    package,
    passes,
    pipeline,
)
from compiler.package import package_name, read_manifest
from compiler.pipeline import Step, options_from, stage_names, stages
from compiler.report import dropped_between, layers_of
from compiler.verify_package import verify_package
from tests import stand_in

QUICK = BuildOptions(verify_observations=20)
OBSERVATION = np.array([0.1, 0.2, 0.3, 0.4], np.float32)


@pytest.fixture(autouse=True)
def numpy_predictors(monkeypatch):
    """
    Nothing here needs kernels: the predictors are those of `tests/stand_in.py`.
    """
    monkeypatch.setattr(codegen, "render", stand_in.render, raising=False)
    monkeypatch.setattr(pipeline, "SHORTEST_RUN", 10_000)


def broken(before: str, after: str):
    """
    A `render` that makes a mistake.
    """

    def render(*arguments):
        text = stand_in.render(*arguments)["__init__.py"]
        assert before in text
        return {"__init__.py": text.replace(before, after)}

    return render


def content(folder: Path) -> dict[str, bytes]:
    """
    Every file and folder under a folder, hidden ones included.
    """
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in paths}


def build(out: Path, model=None, **settings):
    return compiler.build(model or stand_in.policy(), out=out, **{"options": QUICK, **settings})


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


@pytest.mark.skipif(os.name == "nt", reason="there are no modes")
def test_the_package_has_the_usual_mode_and_the_workspace_a_private_one(tmp_path, monkeypatch):
    seen = []

    @contextmanager
    def imported(folder):
        seen.append(folder.stat().st_mode & 0o777)
        with loading.imported(folder) as module:
            yield module

    monkeypatch.setattr(pipeline, "imported", imported)
    before = os.umask(0o002)
    try:
        found = build(tmp_path)
    finally:
        os.umask(before)
    assert seen == [0o700]
    assert found.path.stat().st_mode & 0o777 == 0o775


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ({"render": broken("np.tanh(", "(")}, VerificationError),
        ({"render": broken("import numpy as np", "import nothing_of_this_name")}, BuildError),
        ({"render": broken("SPEC =", "SPEC = = ")}, BuildError),
        ({"render": broken("import numpy as np", "raise KeyboardInterrupt")}, KeyboardInterrupt),
        ({"render": lambda *_: {"../escaped.py": ""}}, ValueError),
        ({"render": lambda *_: {"model.py": ""}}, BuildError),
    ],
)
@pytest.mark.parametrize("existing", [False, True])
def test_a_failed_build_leaves_everything_as_it_was(tmp_path, monkeypatch, failure, error, existing):
    out = tmp_path / "deep" / "out"
    if existing:
        build(out, stand_in.policy(activation="relu"))
        (out / "agent" / "notes.txt").write_text("mine")
    before = content(tmp_path)
    monkeypatch.setattr(codegen, "render", failure["render"])
    with pytest.raises(error):
        build(out)
    assert content(tmp_path) == before


@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupted_move_is_undone(tmp_path, monkeypatch, existing):
    if existing:
        build(tmp_path / "out")
    before = content(tmp_path)
    rename, target = Path.rename, tmp_path / "out" / "agent"

    def interrupted(self, destination):
        if Path(destination) == target and self.name != "older":
            raise KeyboardInterrupt
        return rename(self, destination)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "out", stand_in.policy(activation="relu"))
    assert content(tmp_path) == before


def test_an_older_package_is_replaced_and_files_of_the_user_stay(tmp_path):
    older = build(tmp_path, stand_in.policy(activation="relu")).path
    manifest = json.loads((older / "manifest.json").read_text())
    manifest["files"]["gone.py"] = ""
    (older / "manifest.json").write_text(json.dumps(manifest))
    (older / "gone.py").write_text("of the older package")
    (older / "notes.txt").write_text("mine")
    (older / "data").mkdir()
    (older / "data" / "a").write_text("mine too")
    (older / "link").symlink_to("nowhere")
    (older / "__pycache__").mkdir()
    newer = build(tmp_path).path
    assert newer == older
    assert "np.tanh" in (newer / "__init__.py").read_text()
    names = {"__init__.py", "manifest.json", "model.bin", "notes.txt", "data", "data/a", "link"}
    assert set(content(newer)) == names
    assert (newer / "link").is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["agent"]


@pytest.mark.parametrize(
    "manifest", [None, "{", "[]", '{"versions": {}}', '{"versions": {"policyc": "0"}, "files": []}']
)
def test_a_folder_of_something_else_is_not_touched(tmp_path, manifest):
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "thesis.tex").write_text("mine")
    if manifest is not None:
        (tmp_path / "agent" / "manifest.json").write_text(manifest)
    before = content(tmp_path)
    with pytest.raises(BuildError, match="is a folder that policyc did not write"):
        build(tmp_path)
    assert content(tmp_path) == before


def test_files_and_links_are_not_replaced(tmp_path):
    (tmp_path / "agent").write_text("mine")
    with pytest.raises(BuildError, match="is a file"):
        build(tmp_path)
    (tmp_path / "agent").unlink()
    (tmp_path / "agent").symlink_to(tmp_path)
    with pytest.raises(BuildError, match="is a link"):
        build(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="can't be written"):
        build(tmp_path / "file")
    (tmp_path / "empty" / "agent").mkdir(parents=True)
    assert build(tmp_path / "empty").path.is_dir()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("cartpole.zip", "cartpole"),
        ("cartpole_policy.pth", "cartpole_policy"),
        ("HalfCheetah-v3.zip", "halfcheetah_v3"),
        ("agent.best.zip", "agent_best"),
        ("2048.zip", "policy_2048"),
        ("class.zip", "class_"),
        ("Modèle d'été.zip", "modele_d_ete"),
        ("算法.zip", "policy"),
        ("..zip", "policy"),
        ("../../etc.zip", "etc"),
        ("\udcff\udcfe.zip", "policy"),
        ("a" * 300 + ".zip", "a" * 100),
    ],
)
def test_names_are_made_from_files(file, name):
    assert package_name(file, None) == name
    assert name.isidentifier()


@pytest.mark.parametrize("name", ["", "a-b", "1a", "class", "..", "a/b", "été", "a.b", "a\n", "x" * 101])
def test_names_that_are_no_identifiers_are_refused(name, tmp_path):
    with pytest.raises(BuildError, match="must be an identifier of ASCII letters"):
        build(tmp_path / "out", name=name)
    assert content(tmp_path) == {}


def test_the_name_of_a_model_never_becomes_a_path(tmp_path):
    hostile = stand_in.policy(name="../../evil")
    found = build(tmp_path / "out", hostile, name="good")
    assert found.path == tmp_path / "out" / "good"
    assert set(content(tmp_path)) == {"out", "out/good"} | {
        f"out/good/{name}" for name in ("__init__.py", "manifest.json", "model.bin")
    }


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

    def read(path, options):
        seen.append((path, options.activation))
        return stand_in.policy()

    monkeypatch.setattr(frontends, "read", read)
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
    with pytest.raises(BuildError, match=r"unknown: 'speed'; there are strict, "):
        options_from({"speed": 3})
    with pytest.raises(BuildError, match="lanes must be one of"):
        options_from({"lanes": 3})


def test_a_package_is_verified_as_it_lies_there(tmp_path):
    found = build(tmp_path)
    again = verify_package(found.path)
    assert again.verification.observations == found.report.verification.observations
    assert again.source is None
    assert again.to_json()["source"] is None
    assert set(content(tmp_path)) == {"agent"} | {
        f"agent/{name}" for name in ("__init__.py", "manifest.json", "model.bin")
    }


def test_large_batches_are_verified_too(tmp_path, monkeypatch):
    late = "    return values\n\n\ndef predict"
    source = stand_in.render

    def render(*arguments):
        text = source(*arguments)["__init__.py"]
        assert late in text
        return {"__init__.py": text.replace(late, f"    values['action_net'][5000:] += 1\n{late}")}

    monkeypatch.setattr(codegen, "render", render)
    with pytest.raises(VerificationError, match=r"asked in a batch of 10000"):
        verify_package(build(tmp_path).path)


def test_changed_files_are_found_before_they_are_executed(tmp_path):
    path = build(tmp_path).path
    (path / "__init__.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    (path / "model.bin").unlink()
    with pytest.raises(VerificationError) as caught:
        verify_package(path)
    assert "__init__.py was changed after the build" in str(caught.value)
    assert "model.bin is missing" in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_a_package_with_wrong_weights_is_found_though_the_manifest_fits(tmp_path):
    path = build(tmp_path).path
    other = modelfile.encode(pipeline.run_passes(stand_in.policy(activation="relu"), QUICK)).data
    (path / "model.bin").write_bytes(other)
    manifest = read_manifest(path)
    assert manifest is not None
    manifest["files"]["model.bin"] = package.sha256(other)
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(VerificationError, match=r"first layer that differs: 'pi\.0' \(dense\)"):
        verify_package(path)


@pytest.mark.parametrize(
    ("files", "message"),
    [({"../up.py": "0"}, "is no file of the package"), ({}, "does not list model.bin")],
)
def test_odd_manifests_are_refused(tmp_path, files, message):
    path = build(tmp_path).path
    manifest = read_manifest(path)
    assert manifest is not None
    manifest["files"] = files
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(VerificationError, match=message):
        verify_package(path)


def test_a_folder_without_manifest_is_not_verified(tmp_path):
    with pytest.raises(VerificationError, match="was not built by policyc"):
        verify_package(tmp_path)
