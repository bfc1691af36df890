"""
Contestants in C: shared libraries that are called in a loop of C, not from Python.

Each has a function `int64_t answer(const void *observation, void *action)`, which returns 0 if all went well.
"""

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contest import Contestant, Missing
from benchmarks.peers import checked

SOURCES = Path(__file__).parent / "c"
PLAIN = ("-O3", "-march=native")
"""What a user of generated C would say to the compiler."""
TURN = 1024
"""About how many observations a call of the loop goes through, if each takes less than a microsecond."""


@dataclass(frozen=True)
class Answers:
    """
    Somebody in C, with observations.
    """

    address: int
    """Of the function `answer`."""
    observations: NDArray[Any]
    """One in each row."""
    action: NDArray[Any]
    """An action of the right shape and type: where answers go."""
    note: str = ""
    passes: int = 0
    """How often a call of the loop goes through all observations; by default so often that it makes `TURN`."""
    kept: Sequence[object] = field(default=())
    """What must live as long."""

    def one(self, row: NDArray[Any]) -> NDArray[Any]:
        """
        The action for one observation.

        Raises:
            RuntimeError: it is refused.
        """
        kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
        status = kind(self.address)(row.ctypes.data, self.action.ctypes.data)
        if status:
            raise RuntimeError(f"status {status}")
        return self.action.copy()

    @cached_property
    def turns(self) -> int:
        """
        How often a call of the loop goes through all observations.
        """
        return self.passes or max(1, TURN // len(self.observations))

    def all(self, _: Any) -> None:
        """
        Answers all observations, several times, in C.
        """
        rows, action = self.observations, self.action
        failures = loop()(self.address, rows.ctypes.data, len(rows), rows[0].nbytes, self.turns, action.ctypes.data)
        if failures:
            raise RuntimeError(f"{failures}: the sum of what the answers returned")

    def contestant(self, name: str) -> Contestant:
        """
        For a contest.
        """
        return Contestant(name, self.all, [None], self.note, work=self.turns * len(self.observations))


def entered(name: str, prepare: Callable[[], Answers], expected: Sequence[NDArray[Any]]) -> Contestant | Missing:
    """
    Somebody ready to run, who gives the expected actions, one row each; or why nothing is measured.
    """
    try:
        answers = prepare()
        judged = checked(Contestant(name, answers.one, list(answers.observations)), expected)
    except ImportError as error:
        return Missing(name, f"not installed: {error.name or error}")
    except Exception as error:  # a peer of another version must not take the whole table with it
        said = str(error).strip().splitlines()
        return Missing(name, f"failed: {type(error).__name__}: {said[0] if said else ''}")
    return Missing(name, judged.note) if judged.note else answers.contestant(name)


def compiled(
    folder: Path, name: str, source: Path, *flags: str, linked: Sequence[str] = (), compiler: str = "gcc"
) -> Path:
    """
    A shared library of one file of C, stripped.

    Raises:
        ImportError: there is no such compiler.
        RuntimeError: it refuses the source.
    """
    if shutil.which(compiler) is None:
        raise ImportError(f"no {compiler}", name=compiler)  # as any other part that is not installed
    part, target = folder / f"{name}.o", folder / f"{name}.so"
    # Linked apart: given -ffast-math, gcc would add code that makes the whole process take denormal numbers for zero.
    steps = (
        ["-c", "-fPIC", *flags, str(source), "-o", str(part)],
        ["-shared", "-s", "-o", str(target), str(part), *linked],
    )
    for step in steps:
        done = subprocess.run([compiler, *step], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{compiler} failed: {done.stderr.strip()}")
    return target


def function(library: Path, name: str = "answer") -> tuple[int, ctypes.CDLL]:
    """
    The address of a function, and what keeps it there.
    """
    loaded = ctypes.CDLL(str(library))
    return ctypes.cast(getattr(loaded, name), ctypes.c_void_p).value or 0, loaded


@cache
def loop() -> Callable[..., int]:
    """
    The loop, in a library of its own: compiled once.
    """
    folder = Path(mkdtemp(prefix="policyc-loop-"))
    try:
        library = ctypes.CDLL(str(compiled(folder, "loop", SOURCES / "loop.c", "-O2")))
    finally:
        shutil.rmtree(folder)  # what is loaded stays
    kind: Any = library.loop
    integer, address = ctypes.c_int64, ctypes.c_void_p
    kind.restype, kind.argtypes = integer, [address, address, integer, integer, integer, address]
    found: Callable[..., int] = kind
    return found


def blank(action: NDArray[Any]) -> NDArray[Any]:
    """
    Room for an action like that one.
    """
    return np.zeros(action.shape, action.dtype)
