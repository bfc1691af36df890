"""
A package takes its place complete, or everything stays as it was; what lies there can be verified.
"""

import json
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from compiler import (
    BuildError,
    BuildOptions,
    VerificationError,
    codegen,
    loading,
    modelfile,
    package,
    pipeline,
    products,
)
from compiler.package import package_name, read_manifest
from compiler.verify_package import verify_package
from tests import stand_in
from tests.stand_in import QUICK, build, content


@pytest.fixture(autouse=True)
def numpy_predictors(monkeypatch):
    stand_in.install(monkeypatch)


def broken(before: str, after: str):
    """
    A `render` that makes a mistake.
    """

    def render(*arguments):
        text = stand_in.render(*arguments)["__init__.py"]
        assert before in text
        return {"__init__.py": text.replace(before, after)}

    return render


@pytest.mark.skipif(os.name == "nt", reason="there are no modes")
def test_the_package_has_the_usual_mode_and_the_workspace_a_private_one(tmp_path, monkeypatch):
    seen = []

    @contextmanager
    def imported(folder):
        seen.append(folder.stat().st_mode & 0o777)
        with loading.imported(folder) as module:
            yield module

    monkeypatch.setattr(products, "imported", imported)
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


@pytest.mark.parametrize("as_model_file", [False, True])
def test_statistics_are_recorded_by_digest_and_name_alone(tmp_path, as_model_file):
    statistics = tmp_path / "a private folder" / "vecnormalize.pkl"
    statistics.parent.mkdir()
    statistics.write_bytes(b"\x80\x04N.")
    digest = package.sha256(statistics.read_bytes())
    model = stand_in.policy()
    model = replace(model, origin=replace(model.origin, vecnormalize=digest))
    source = tmp_path / "agent.bin"
    source.write_bytes(modelfile.encode(model).data)
    options = replace(stand_in.QUICK, vecnormalize=str(statistics))
    path = build(tmp_path / "out", source if as_model_file else model, options=options).path
    manifest = read_manifest(path)
    assert manifest is not None
    assert manifest["source"]["vecnormalize"] == digest
    assert manifest["options"] == {"verify_observations": 20, "vecnormalize": "vecnormalize.pkl"}
    assert not any(b"private" in written for written in content(path).values())
    statistics.unlink()
    assert verify_package(path).verification.observations > 20


@pytest.mark.parametrize("digest", ["", "0" * 64])
def test_a_model_takes_no_statistics_but_its_own(tmp_path, digest):
    statistics = tmp_path / "vecnormalize.pkl"
    statistics.write_bytes(b"\x80\x04N.")
    model = stand_in.policy()
    model = replace(model, origin=replace(model.origin, vecnormalize=digest))
    with pytest.raises(BuildError, match=r"is a model that was made with.*; pass --vecnormalize with the checkpoint"):
        build(tmp_path / "out", model, options=BuildOptions(vecnormalize=str(statistics)))
    assert not (tmp_path / "out").exists()


def test_a_folder_without_manifest_is_not_verified(tmp_path):
    with pytest.raises(VerificationError, match="is not a package that policyc built: there is no"):
        verify_package(tmp_path)
