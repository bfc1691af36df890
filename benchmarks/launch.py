"""
What happens once, without Numba: importing the extension, starting the executable, building what needs no Python.
"""

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contest import WALL, Contestant, Effort, Timing, compete
from benchmarks.report import Row, Table, rows_of
from benchmarks.startup import BUILDS, in_process, row
from benchmarks.subjects import CARTPOLE, Bench

NOT_NEEDED = ("numpy", "numba", "llvmlite", "torch")
TARGETS = ("native", "c", "exe", "wasm")
REQUEST = b'{"observation": [0.1, 0.2, 0.3, 0.4]}\n'
ANSWER = b'{"action": 1}\n'
LONGEST_ANSWER = 4096

IMPORT = """
import json, sys, time
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
times = [time.perf_counter()]
import cartpole
times.append(time.perf_counter())
cartpole.act([0.1, 0.2, 0.3, 0.4])
times.append(time.perf_counter())
found = [float(name in sys.modules) for name in sys.argv[2:]]
print(json.dumps([b - a for a, b in zip(times, times[1:])] + [len(set(sys.modules) - before)] + found))
"""
BUILD = """
import json, os, sys, time
import numba, numpy
import compiler.pipeline
begin, before = time.perf_counter(), os.times()
compiler.pipeline.build(sys.argv[1], out=sys.argv[2], target=sys.argv[3])
after = os.times()
print(json.dumps([time.perf_counter() - begin, sum(after[:4]) - sum(before[:4])]))
"""


def launch(bench: Bench, effort: Effort) -> list[Table]:
    """
    Import, start and build, each in many processes.
    """
    return [_import(bench, effort), _start(bench, effort), _build(bench, effort)]


def of_children() -> float:
    """
    A clock: the processor time of all processes that were started and have ended.
    """
    import resource  # which Windows lacks

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Process:
    """
    A program that is started again and again, as quickly as the system does that.
    """

    command: list[str]
    request: Path = Path(os.devnull)
    """What it reads."""
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, _: object = None) -> bytes:
        """
        Starts it and waits for its end; returns what it wrote first.

        Raises:
            RuntimeError: it failed.
        """
        reading, writing = os.pipe()
        actions = [(os.POSIX_SPAWN_OPEN, 0, str(self.request), os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, writing, 1)]
        try:
            try:
                child = os.posix_spawn(self.command[0], self.command, self.environment, file_actions=actions)
            finally:
                os.close(writing)
            said = os.read(reading, LONGEST_ANSWER)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finally:
            os.close(reading)
        if status:
            raise RuntimeError(f"{self.command[0]} ended with status {status}")
        return said

    def contestant(self, name: str) -> Contestant:
        """
        For a contest, in which each call is a process.
        """
        return Contestant(name, self.run, [None])


def _import(bench: Bench, effort: Effort) -> Table:
    """
    Python with the import and without, in turns; and what a clock in Python says.
    """
    package = bench.product(bench.cartpole, "native")
    folder = str(package.parent)
    found = [in_process(IMPORT, folder, *NOT_NEEDED) for _ in range(effort.processes)]
    imported, answered, modules, *needless = zip(*found, strict=True)
    loaded = [name for name, there in zip(NOT_NEEDED, needless, strict=True) if any(there)]
    note = f"{modules[0]:.0f} modules loaded; {', '.join(loaded) or 'none'} of {', '.join(NOT_NEEDED)} among them"
    variables = {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    alone, package_too = (
        Process([sys.executable, "-c", program], environment=variables).contestant(f"python -c {program!r}")
        for program in ("pass", f"import {package.name}")
    )
    timings = compete([alone, package_too], effort, of_children)
    more = [b - a for a, b in zip(*(timing.rounds for timing in timings), strict=True)]
    rows = (
        row(Timing("import, by a clock in Python", imported, note)),
        row(Timing("the first act after it, of a list", answered)),
        row(Timing("import, beyond an interpreter that does nothing", tuple(more), "processor time"), "rounds"),
        *rows_of(timings),
    )
    return Table("launch-import", "Importing the extension of CartPole", rows, "1 ms beyond the interpreter's start")


def _start(bench: Bench, effort: Effort) -> Table:
    """
    The executable, from before its start to its end, beside a program that does nothing.
    """
    program = bench.product(bench.cartpole, "exe") / bench.cartpole.name
    request = bench.folder / "request.json"
    request.write_bytes(REQUEST)
    ours, nothing = Process([str(program)], request), Process([shutil.which("true") or "true"])
    said = ours.run()
    if not said.startswith(b'{"action":'):
        raise RuntimeError(f"the executable answered {said!r}")
    everybody = [
        ours.contestant("./cartpole, one request and its answer"),
        nothing.contestant("true, which does nothing"),
    ]
    wall = rows_of(compete(everybody, effort, WALL))
    busy = compete(everybody, effort, of_children)
    note = "the same on a machine that does nothing else, without what its parent does"
    rows = (*wall, row(Timing("./cartpole, processor time", busy[0].rounds, note), "rounds"))
    return Table("launch-start", "One process from start to answer and end", rows, "1 ms")


def _build(bench: Bench, effort: Effort) -> Table:
    """
    Building for each target, the parts of libc that zig keeps compiled before.
    """
    rows: list[Row] = []
    for target in TARGETS:
        bench.product(bench.cartpole, target)
        places = [str(bench.folder / f"launch-{target}-{number}") for number in range(min(BUILDS, effort.processes))]
        runs = [in_process(BUILD, str(CARTPOLE), place, target) for place in places]
        wall, processor = zip(*runs, strict=True)
        busy = Timing(f"--target {target}, processor time", processor, "of all cores, its own processes included")
        rows += [row(Timing(f"--target {target}", wall)), row(busy)]
    title = "Building CartPole, after imports: reading, generating, compiling, verifying, measuring"
    return Table("launch-build", title, tuple(rows), "5 s for native")
