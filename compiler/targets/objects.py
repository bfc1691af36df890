"""
The kernels of a model as object files, one for each level of a triple.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from compiler.errors import BuildError
from compiler.targets.machines import Level, Triple

ROOT = Path(__file__).resolve().parents[2]
"""Where the compiler can be imported from."""
UNOPTIMISED = {"NUMBA_OPT": "0", "NUMBA_LOOP_VECTORIZE": "0", "NUMBA_SLP_VECTORIZE": "0", "NUMBA_DISABLE_JIT": "0"}
"""Settings of Numba, which would otherwise optimise for this machine what is meant for another."""


def translate(
    folder: Path, sources: Mapping[str, Mapping[str, str]], prefix: str, exports: Sequence[str], triple: Triple
) -> list[Path]:
    """
    Translates the kernels, all levels at the same time.

    Args:
        folder: for intermediate files.
        sources: the files of each level's package, by the level's suffix.
        prefix: what the names of the functions begin with, before two underscores.
        exports: the functions of `exports.py` that are wanted.
        triple: what for.

    Returns:
        The object files.

    Raises:
        BuildError: a translation failed.
    """
    started = [_start(folder, sources[level.suffix], prefix, exports, triple, level) for level in triple.levels]
    outcomes = [(path, process.communicate()[1], process.returncode) for path, process in started]
    for _, said, status in outcomes:
        if status:
            last = said.decode("utf-8", "replace").strip().splitlines()[-8:]
            raise BuildError(triple.name, "\n  ".join(["the kernels can't be translated:", *last]))
    return [path for path, _, _ in outcomes]


def _start(
    folder: Path, files: Mapping[str, str], prefix: str, exports: Sequence[str], triple: Triple, level: Level
) -> tuple[Path, "subprocess.Popen[bytes]"]:
    package = folder / f"kernels{level.suffix}"
    package.mkdir()
    for name, text in files.items():
        (package / name).write_text(text, "utf-8")
    target = folder / f"{prefix}_kernels{level.suffix}.o"
    job = folder / f"job{level.suffix}.json"
    job.write_text(
        json.dumps(
            {
                "package": str(package),
                "exports": list(exports),
                "prefix": prefix,
                "suffix": level.suffix,
                "object": str(target),
                "triple": triple.llvm,
                "cpu": level.cpu,
                "features": level.features,
                "fma": level.fma,
                "freestanding": triple.freestanding,
                "narrow": triple.narrow,
                "relocation": "static" if triple.freestanding else "pic",
            }
        ),
        "utf-8",
    )
    places = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    variables = {**os.environ, **UNOPTIMISED, "PYTHONPATH": os.pathsep.join(places)}
    # -P: nothing is imported from the working directory, where a stranger's files may lie.
    command = [sys.executable, "-P", "-m", "compiler.targets.lower", str(job)]
    return target, subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
