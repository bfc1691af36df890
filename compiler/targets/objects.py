"""
The kernels of a model as object files, one for each level of a triple.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from compiler.errors import BuildError
from compiler.targets.job import Job, write
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
    jobs = [_job(folder, sources[level.suffix], prefix, exports, triple, level) for level in triple.levels]
    written = folder / "jobs.json"
    write(written, jobs)
    places = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    variables = {**os.environ, **UNOPTIMISED, "PYTHONPATH": os.pathsep.join(places)}
    # -P: nothing is imported from the working directory, where a stranger's files may lie.
    command = [sys.executable, "-P", "-m", "compiler.targets.lower", str(written)]
    done = subprocess.run(command, env=variables, capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-8:]
        raise BuildError(triple.name, "\n  ".join(["the kernels can't be translated:", *last]))
    return [Path(job.object) for job in jobs]


def _job(
    folder: Path, files: Mapping[str, str], prefix: str, exports: Sequence[str], triple: Triple, level: Level
) -> Job:
    package = folder / f"kernels{level.suffix}"
    package.mkdir()
    for name, text in files.items():
        (package / name).write_text(text, "utf-8")
    return Job(
        package=str(package),
        exports=tuple(exports),
        prefix=prefix,
        suffix=level.suffix,
        object=str(folder / f"{prefix}_kernels{level.suffix}.o"),
        triple=triple.llvm,
        cpu=level.cpu,
        features=level.features,
        fma=level.fma,
        freestanding=triple.freestanding,
        narrow=triple.narrow,
    )
