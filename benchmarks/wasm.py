"""
The WebAssembly module in Node.js.
"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.contest import Effort, Timing
from benchmarks.kinds import OBSERVATIONS
from benchmarks.report import Row, Table, rows_of
from benchmarks.subjects import Bench

PROGRAM = Path(__file__).parent / "js" / "wasm.mjs"


def wasm(bench: Bench, effort: Effort) -> list[Table]:
    """
    One observation through `act`, from JavaScript, with SIMD and without.
    """
    title = "One observation from JavaScript, CartPole (4-64-64-2, tanh): a Float32Array in, a number out"
    node = shutil.which("node")
    if node is None:
        return [Table("wasm", title, (Row("all", note="not installed: node"),))]
    subject = bench.cartpole
    module = bench.product(subject, "wasm") / f"{subject.name}.mjs"
    (rows,) = subject.observations(1, OBSERVATIONS)
    job = bench.folder / "wasm.json"
    job.write_text(json.dumps({"observations": rows.tolist(), "rounds": effort.rounds, "seconds": effort.seconds}))
    done = subprocess.run([node, str(PROGRAM), str(module), str(job)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"node failed: {done.stderr.strip()[-500:]}")
    said = json.loads(done.stdout)
    expected = subject.network.run(rows)
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    timings, missing = [], []
    for name, what in (("simd", "act, module with SIMD"), ("scalar", "act, module without")):
        different = int((np.asarray(said["actions"][name]) != expected).sum())
        if different:
            missing.append(Row(what, note=f"DISAGREES on {different} of {len(rows)} observations"))
        else:
            timings.append(Timing(what, tuple(said["rounds"][name]), f"Node.js {version}"))
    return [Table("wasm", title, (*(rows_of(timings) if timings else ()), *missing))]
