"""
Policies of every kind as executables, each built once for all tests of a process.
"""

import atexit
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from compiler import modelfile, products
from compiler.codegen.program import ProgramView, program_view
from compiler.ir import Dict, Discrete, Model, MultiBinary, MultiDiscrete
from compiler.options import BuildOptions
from compiler.package import write_files
from compiler.pipeline import load_model, run_passes
from compiler.products import Product
from compiler.targets import Sources, exe
from tests import policies
from tests.general_models import sentences

NAME = "agent"
CARTPOLE = Path(__file__).parents[2] / "model" / "cartpole.zip"
OBSERVED = 80
"""Observations that are compared with the model, besides the special ones."""
HOSTILE = 'a"\n\\ %s??/\x00\x7f\u00e9\U0001f600 */ // 7'
"""A key that would end a literal, a comment or a line, or be a format, if it were not escaped."""

KINDS: dict[str, Callable[[], Model | Path]] = {
    "cartpole": lambda: CARTPOLE,
    "dict": lambda: policies.observing(Dict((*policies.PARTS.spaces, (HOSTILE, MultiBinary((2, 3))))), policies.NARROW),
    "masked": policies.masked,
    "recurrent": policies.recurrent,
    "recurrent_discrete": lambda: policies.recurrent(1, lambda: Discrete(3)),
    "choice": lambda: policies.observing(Discrete(7), MultiDiscrete((2, 3))),
    "choices": lambda: policies.observing(MultiDiscrete((3, 4)), MultiBinary((4,))),
    "image": lambda: policies.observing(policies.IMAGE),
    "normalised": policies.normalised,
}
"""Of each kind of observation and action one."""

GENERAL: dict[str, Callable[[], Model | Path]] = {"sentences": sentences}
"""Models that are no policies."""


@dataclass(frozen=True, eq=False)
class Made:
    """
    What was made of a policy.
    """

    work: Path
    """The intermediate files."""
    folder: Path
    """The executable's folder."""
    product: Product
    source: Model
    model: Model
    options: BuildOptions

    @property
    def path(self) -> Path:
        (name,) = self.product.files
        return self.folder / name

    @property
    def sources(self) -> Sources:
        assert self.product.sources is not None
        return self.product.sources

    @property
    def program(self) -> ProgramView:
        return program_view(self.sources.policy.predictor)

    def run(self, given: bytes, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        """
        Runs it on some input.
        """
        return subprocess.run([self.path, *arguments], input=given, capture_output=True, timeout=60, check=False)

    def answers(self, given: bytes) -> list[Any]:
        """
        What it answers to some input; it must end well.
        """
        done = self.run(given)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.endswith(b"\n") or not done.stdout
        return [json.loads(line) for line in done.stdout.splitlines()]

    def ask(self, *requests: Any) -> list[Any]:
        """
        What it answers to requests.
        """
        return self.answers(b"".join(json.dumps(request).encode() + b"\n" for request in requests))


def make(folder: Path, source: Model | Path, **choices: Any) -> Made:
    """
    Builds an executable as a build does, without the comparison.
    """
    wanted = BuildOptions(target="exe", verify_observations=OBSERVED, **choices)
    options, triple = products.resolve(wanted)
    read = products.reduced(source if isinstance(source, Model) else load_model(source, options), options)
    model = run_passes(read, options)
    work, out = folder / "work", folder / "out"
    work.mkdir(parents=True)
    out.mkdir()
    product = products.make(products.render(model, modelfile.encode(model), options, triple, NAME), work)
    write_files(out, product.files)
    made = Made(work, out, product, read, model, options)
    made.path.chmod(0o755)
    return made


@cache
def built(kind: str, **choices: Any) -> Made:
    """
    A policy of this file as an executable: for this processor alone, which takes less time, unless it is CartPole.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=_root()))
    own = {} if kind == "cartpole" or "triple" in choices else {"cpu": "native"}
    return make(folder, (KINDS | GENERAL)[kind](), **own, **choices)


@cache
def _root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="policyc-exe-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@contextmanager
def faced(made: Made) -> Iterator[tuple[Any, str]]:
    """
    The executable with the face of a predictor in Python, and by what means it is asked.
    """
    with tempfile.TemporaryDirectory() as work, products.examined(made.folder, made.product, Path(work)) as found:
        yield found


@cache
def clang_lacks() -> str:
    """
    Why clang can't make programs with its sanitizers and its fuzzer here; empty if it can.
    """
    if shutil.which("clang") is None:
        return "clang is not installed"
    command = ["clang", "-fsanitize=fuzzer,address,undefined", "-x", "c", "-", "-o", os.devnull]
    program = "int LLVMFuzzerTestOneInput(const void *data, unsigned long size) { return !data && size; }"
    done = subprocess.run(command, input=program, capture_output=True, text=True, check=False)
    return "clang is installed without its sanitizers" if done.returncode else ""


CLANG = ("-std=c2x", "-g", "-O1", "-fno-sanitize-recover=all")


def sanitized(made: Made, target: Path, sources: Sequence[str | Path], *sanitizers: str) -> None:
    """
    Links files in C, compiled by clang with sanitizers, with the kernels and the interface, which come from zig.
    """
    folder = made.work
    objects = [f"{NAME}.o", *(path.name for path in folder.glob(f"{NAME}_kernels*.o"))]
    command = ["clang", *CLANG, f"-fsanitize={','.join(sanitizers)}", f"-I{folder}", *map(str, sources), *objects]
    done = subprocess.run([*command, "-lm", "-o", str(target)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def parts_in_c(*without: str) -> list[str | Path]:
    """
    The program's own files, as they lie in the folder of intermediate files.
    """
    return [f"{NAME}_{part}.c" for part in exe.PARTS if part not in without]
