"""
Packages for the server's own tests: written by hand, imported at once, with answers that say which request and which
build they belong to; and those of real models, not compiled.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from compiler.ir import Model
from tests import models

INIT = """from .predictor import SPEC, act, predict

__all__ = ["SPEC", "act", "predict"]
"""

PREDICTOR = '''"""
Answers twice the first number of an observation, plus BUILD, after as many seconds as the second number says.
"""

import time

import numpy as np

BUILD = {build}
ACTION_DTYPE = np.dtype("int64")
SPEC = {{
    "name": "{name}",
    "source": {{"file": "none", "sha256": "{sha256}", "format": "none"}},
    "observation": {{"kind": "Box", "shape": (4,), "dtype": "float32", "low": None, "high": None}},
    "action": {{"kind": "Discrete", "n": 2_000_000, "start": 0}},
    "scores": {{"name": "logits", "count": 2_000_000}},
}}


def predict(observation, state=None, episode_start=None, deterministic=True):
    rows = np.asarray(observation, np.float32)
    if seconds := rows[..., 1].sum():
        time.sleep(float(seconds))
    return (2 * rows[..., 0]).astype(np.int64) + BUILD, None


def act(observation):
    return int(predict(observation)[0])
'''


def write_package(folder: Path, build: int = 0, name: str = "double", source: str = PREDICTOR) -> Path:
    """
    Writes a package, or another build of it where one lies: the manifest last, as a build does.
    """
    sha256 = hashlib.sha256(f"{name} {build}".encode()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    # A build leaves no bytecode of the one before, which Python takes for this one's if both are of one second.
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    (folder / "__init__.py").write_text(INIT)
    (folder / "predictor.py").write_text(source.format(build=build, name=name, sha256=sha256))
    versions = {"policyc": f"0.{build}"}
    manifest = {"files": {"model.bin": sha256}, "versions": versions, "source": {"sha256": sha256}, "options": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def place_all(folder: Path, of: Mapping[str, Model]) -> list[Path]:
    """
    Packages of these names, spaces in them replaced, with as much of a manifest as a server needs.
    """
    return [_place(folder / name.replace(" ", "_"), model) for name, model in of.items()]


def _place(folder: Path, model: Model) -> Path:
    models.write(folder, model, plain=True)
    digest = hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest()
    manifest = {"versions": {"policyc": "0.0"}, "files": {"model.bin": digest}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
