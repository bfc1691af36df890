"""
Tables about policies outside Python: the library and Numba's kernels in one loop, processes, sizes.
"""

import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import compiler
from benchmarks import c_code, c_library, launch, sizes
from benchmarks.contest import Contestant
from benchmarks.network import network_of
from benchmarks.report import Size, SizeTable
from benchmarks.subjects import Subject
from tests.models import observations, policy

HEADER = """
#define SMALL_OBSERVATION_SIZE 4
#define SMALL_ACTION_SIZE {size}
SMALL_API small_status small_predict(small_state *state, const float *observation, {kind} *action);
"""


@pytest.mark.parametrize(("size", "kind", "dtype"), [(1, "int64_t", np.int64), (6, "float", np.float32)])
def test_the_action_of_a_header(size, kind, dtype):
    action = c_library.action_of(HEADER.format(size=size, kind=kind))
    assert action.shape == (size,)
    assert action.dtype == dtype


def test_a_header_without_an_action():
    with pytest.raises(ValueError, match="declares no action"):
        c_library.action_of("#define SMALL_OBSERVATION_SIZE 4\n")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.skipif(find_spec("ziglang") is None, reason="no ziglang")
def test_the_library_and_numbas_kernels_in_one_loop(tmp_path):
    model = policy((5,), (16, 8), 3, head="argmax", activations="tanh")
    predictor = compiler.build(model, out=tmp_path / "numba", name="small")
    product = compiler.build(model, out=tmp_path / "c", name="small", target="c", cpu="native").path
    subject = Subject("PPO", tmp_path, predictor.path, predictor.load(), predictor.source_model)
    rows, network = observations(model, 40), network_of(predictor.source_model)
    expected = [network.run(row[np.newaxis]) for row in rows]
    assert len(np.unique(expected)) > 1
    for prepare in (
        lambda: c_library.library(subject, product, rows, tmp_path),
        lambda: c_library.jit(subject, rows),
    ):
        found = c_code.entered("who", prepare, expected)
        assert isinstance(found, Contestant), found
        found.call(found.inputs[0])


def test_processes_answer_and_use_processor_time(tmp_path):
    request = tmp_path / "request"
    request.write_bytes(b"twice")
    program = "import sys; text = sys.stdin.read(); sum(range(2000000)); print(text * 2, end='')"
    before = launch.of_children()
    assert launch.Process([sys.executable, "-S", "-c", program], request).run() == b"twicetwice"
    assert launch.of_children() > before
    (empty,) = launch.Process([sys.executable, "-S", "-c", "pass"]).contestant("nothing").inputs
    assert empty is None


def test_a_process_that_fails():
    descriptors = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with pytest.raises(RuntimeError, match="ended with status 3"):
        launch.Process([sys.executable, "-S", "-c", "raise SystemExit(3)"]).run()
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_table_of_sizes():
    rows = (Size("extension", 31234, 40000, "_native.so"), Size("none", None, 1000, "can't be built"), Size("other", 5))
    table = SizeTable("sizes", "What is shipped", rows)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.text().splitlines() if "|" in line]
    assert lines[0] == ["what", "bytes", "to reach, below", "note"]
    assert lines[2:] == [
        ["extension", "31,234", "40,000", "_native.so"],
        ["none", "-", "1,000", "can't be built"],
        ["other", "5", "", ""],
    ]
    assert json.loads(json.dumps(table.to_json()))["rows"][0]["size"] == 31234


def test_what_a_build_for_a_microcontroller_measured():
    needs = {"flash": 30000, "ram": 900}
    assert sizes.memory_of({"made": {"memory": needs}}) == needs
    with pytest.raises(ValueError, match="says nothing of memory"):
        sizes.memory_of({"made": {"triple": "x86_64-linux-gnu"}})
