"""
Kernels that several tests want are translated once in a run, by whichever worker comes first.
"""

import functools
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from compiler.targets import objects
from compiler.targets.machines import Level, Triple


@pytest.fixture(autouse=True, scope="session")
def translated_once(tmp_path_factory: pytest.TempPathFactory):
    """
    Keeps the object files of this run, by all that they depend on.
    """
    base = tmp_path_factory.getbasetemp()
    kept = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "translated"
    kept.mkdir(exist_ok=True)
    translate = objects.translate

    @functools.wraps(translate)
    def cached(
        folder: Path, sources: Mapping[str, Mapping[str, str]], prefix: str, exports: Sequence[str], triple: Triple
    ) -> list[Path]:
        def place(level: Level) -> Path:
            files = sorted(sources[level.suffix].items())
            system = (triple.llvm, triple.freestanding, triple.narrow)
            known = repr((files, prefix, list(exports), system, astuple(level)))
            return kept / hashlib.sha256(known.encode()).hexdigest()

        missing = tuple(level for level in triple.levels if not place(level).exists())
        if missing:
            made = translate(folder, sources, prefix, exports, replace(triple, levels=missing))
            for level, path in zip(missing, made, strict=True):
                own = place(level).with_suffix(f".{os.getpid()}")
                shutil.copyfile(path, own)
                own.rename(place(level))
        paths = [folder / f"{prefix}_kernels{level.suffix}.o" for level in triple.levels]
        for level, path in zip(triple.levels, paths, strict=True):
            shutil.copyfile(place(level), path)
        return paths

    patch = pytest.MonkeyPatch()
    patch.setattr(objects, "translate", cached)
    yield
    patch.undo()
