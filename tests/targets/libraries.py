"""
Policies of every kind as libraries in C, each built once for all tests of a process.
"""

import atexit
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import modelfile, products
from compiler.ir import Discrete, Model, MultiBinary, MultiDiscrete
from compiler.loading import imported
from compiler.options import BuildOptions
from compiler.package import write_files
from compiler.pipeline import load_model, run_passes
from compiler.targets import Sources, c, toolchain, write
from compiler.targets.machines import Level
from compiler.targets.shared import loaded
from tests import models, policies

NAME = "agent"
CARTPOLE = Path(__file__).parents[2] / "model" / "cartpole.zip"

KINDS: dict[str, Callable[[], Model | Path]] = {
    "cartpole": lambda: CARTPOLE,
    "dict": lambda: policies.observing(policies.PARTS, policies.NARROW),
    "choice": lambda: policies.observing(Discrete(7), MultiDiscrete((2, 3))),
    "choices": lambda: policies.observing(MultiDiscrete((3, 4)), MultiBinary((4,))),
    "bits": lambda: policies.observing(MultiBinary((2, 2))),
    "image": lambda: policies.observing(policies.IMAGE),
    "masked": lambda: policies.masked(),
    "recurrent": lambda: policies.recurrent(),
    "normalised": lambda: policies.normalised(),
    "uneven": lambda: models.policy((7,), (33, 5), 3, head="rescale", bounds=np.float64),
}
"""Of each kind of observation and action one, some with widths that fill no register."""


@dataclass(frozen=True, eq=False)
class Made:
    """
    What was made of a policy.
    """

    folder: Path
    """The files that a user gets."""
    work: Path
    """The intermediate files."""
    sources: Sources

    @property
    def static(self) -> Path:
        return self.folder / f"lib{NAME}.a"

    @property
    def shared(self) -> Path:
        return self.folder / f"lib{NAME}.so"


@cache
def _root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="policyc-c-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


def sources_of(source: Model | Path, **choices: Any) -> Sources:
    """
    The sources of a library, made as a build makes them.
    """
    options, triple = products.resolve(BuildOptions(target="c", **choices))
    assert triple is not None
    read = source if isinstance(source, Model) else load_model(source, options)
    model = run_passes(products.reduced(read, options), options)
    return products.sources_of(model, modelfile.encode(model), options, triple, NAME)


def make(folder: Path, sources: Sources) -> Made:
    """
    The files of a library in a folder, as a user has them.
    """
    made = Made(folder / "library", folder / "work", sources)
    made.folder.mkdir(parents=True)
    made.work.mkdir()
    write_files(made.folder, c.make(made.work, sources))
    return made


@cache
def built(kind: str, **choices: Any) -> Made:
    """
    A policy of this file as a library, for the processor of this machine alone unless the choices name another.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=_root()))
    return make(folder, sources_of(KINDS[kind](), **({"cpu": "native"} | choices)))


@cache
def level_of(made: Made, suffix: str) -> Path:
    """
    A folder with the library that has the kernels of one level alone, from the object files of all.
    """
    (level,) = (level for level in made.sources.policy.levels if level.suffix == suffix)
    own = c.called(replace(made.sources, view=replace(made.sources.policy, levels=[level])))
    folder = made.work / f"only{suffix}"
    folder.mkdir()
    for name in (f"{NAME}_weights.bin", f"{NAME}_kernels{suffix}.o"):
        shutil.copy(made.work / name, folder)
    for template, name in (("header.h", f"{NAME}.h"), ("internal.h", f"{NAME}_internal.h")):
        write(folder, template, name, own)
    interface = toolchain.compile_c(folder, write(folder, "interface.c", f"{NAME}.c", own), own.triple)
    objects = [interface, f"{NAME}_kernels{suffix}.o"]
    toolchain.archive(folder, f"lib{NAME}.a", objects)
    toolchain.link(folder, f"lib{NAME}.so", objects, own.triple, "-shared")
    return folder


def levels(made: Made) -> Iterator[tuple[Level, Path]]:
    """
    The levels that this machine has, and a folder with the library of each.
    """
    for level in made.sources.triple.levels:
        if executes(level):
            yield level, level_of(made, level.suffix)


def executes(level: Level) -> bool:
    """
    Whether this machine, whose kind the triple is for, has a level: as Linux says, not as our own cpuid does.
    """
    needed = {"x86-64-v3": {"avx2", "fma", "bmi2"}, "x86-64-v4": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}}
    flags = next(
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(("flags", "Features"))
    )
    return needed.get(level.cpu, set()) <= set(flags.split())


@contextmanager
def faced(path: Path, made: Made) -> Iterator[Any]:
    """
    A shared library with the face of a predictor in Python.
    """
    with tempfile.TemporaryDirectory() as temporary:
        face = Path(temporary) / "face"
        face.mkdir()
        write_files(face, {name: text.encode() for name, text in made.sources.faces.items()})
        with imported(face, _native=loaded(path, made.sources.policy, made.sources.weights)) as module:
            yield module


def run(*command: str | Path, at: Path, **settings: Any) -> "subprocess.CompletedProcess[str]":
    """
    Runs a program in a folder; fails with what it says.
    """
    done = subprocess.run(
        [str(part) for part in command], cwd=at, capture_output=True, text=True, check=False, **settings
    )
    assert done.returncode == 0, f"{command[0]} gave {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
    return done


def need(program: str) -> str:
    """
    The path of a program; without it the test is skipped.
    """
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at libraries for Linux, and loads them")
