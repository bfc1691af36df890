"""
What happens once: building a predictor, importing it, calling it for the first time. Each in a fresh interpreter.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.contest import Effort, Timing
from benchmarks.report import Row, Table, duration
from benchmarks.subjects import CARTPOLE, ROOT, Bench

IMPORT = """
import json, sys, time
import numpy
begin = time.perf_counter()
import numba
numba_imported = time.perf_counter() - begin
sys.path.insert(0, sys.argv[1])
observation = numpy.array([0.1, 0.2, 0.3, 0.4], numpy.float32)
processor = time.process_time()
times = [time.perf_counter()]
import cartpole
times.append(time.perf_counter())
processor = time.process_time() - processor
for call in (cartpole.act, cartpole.act, cartpole.predict):
    call(observation)
    times.append(time.perf_counter())
print(json.dumps([b - a for a, b in zip(times, times[1:])] + [processor, numba_imported]))
"""
STAGES = (
    ("import cartpole", "beyond numpy and numba, warm cache"),
    ("first act", ""),
    ("second act", ""),
    ("first predict", ""),
    ("import cartpole, processor time", "what the first row would be on a machine that does nothing else"),
    ("import numba", "for comparison"),
)

BUILD = """
import json, sys, time
import numba, numpy
import compiler.pipeline
begin, processor = time.perf_counter(), time.process_time()
compiler.pipeline.build(sys.argv[1], out=sys.argv[2])
print(json.dumps([time.perf_counter() - begin, time.process_time() - processor]))
"""
BUILDS = 3


def environment(path: str) -> dict[str, str]:
    """
    What a user's process has: compiled sources are kept, whatever the caller of the benchmarks has set.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": path}


def import_time(bench: Bench, effort: Effort) -> list[Table]:
    """
    Importing CartPole's predictor, whose kernels have been compiled before.
    """
    package = bench.cartpole.package
    fresh = bench.folder / "fresh"
    shutil.copytree(package, fresh / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    cold = in_process(IMPORT, str(fresh))
    folder = str(fresh)
    runs = [in_process(IMPORT, folder) for _ in range(effort.processes)]
    rows = [row(Timing(name, tuple(run[stage] for run in runs), note)) for stage, (name, note) in enumerate(STAGES)]
    compiled = Row("import cartpole, first time", cold[0], note="with nothing cached: its kernels are compiled")
    return [Table("import", "Importing generated.cartpole", (*rows, compiled), "60 ms")]


def build_time(bench: Bench, effort: Effort) -> list[Table]:
    """
    Building CartPole's predictor, after imports.
    """
    count = min(BUILDS, effort.processes)
    runs = [in_process(BUILD, str(CARTPOLE), str(bench.folder / f"build{number}")) for number in range(count)]
    what = "reading, generating, compiling, verifying, measuring"
    wall, processor = zip(*runs, strict=True)
    rows = (
        row(Timing("compiler.build", wall, what)),
        row(Timing("compiler.build, processor time", processor, "the same on a machine that does nothing else")),
    )
    return [Table("build", "Building CartPole's predictor, after imports", rows, "5 s")]


def row(timing: Timing, what: str = "processes") -> Row:
    """
    A row of its own: the median, and the range it comes from.
    """
    spread = f"{duration(min(timing.rounds))} to {duration(max(timing.rounds))} in {len(timing.rounds)} {what}"
    return Row(timing.name, timing.median, note=f"{timing.note}; {spread}" if timing.note else spread)


def in_process(program: str, *arguments: str) -> list[float]:
    """
    The numbers that a program prints.
    """
    path = os.pathsep.join(filter(None, [str(Path(ROOT)), os.environ.get("PYTHONPATH", "")]))
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env=environment(path),
    )
    if result.returncode:
        raise RuntimeError(f"a measuring process failed:\n{result.stderr}")
    numbers: list[float] = json.loads(result.stdout.splitlines()[-1])
    return numbers
