"""
The table of PyTorch models: everybody gives what the module gives.
"""

import pytest

from benchmarks import programs
from benchmarks.contest import QUICK
from benchmarks.modules import PROGRAMS
from benchmarks.subjects import Bench
from tests.thorough import chosen


@pytest.mark.slow
@pytest.mark.parametrize("key", chosen(("logistic", "sentiment", "walker"), "logistic"))
def test_everybody_agrees(key, tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "_compiled", lambda module: module)  # compiling takes a minute, and g++
    table = programs._table(Bench(tmp_path), QUICK, key, PROGRAMS[key], 1)
    rows = table.rows
    assert [row.who for row in rows][:2] == ["policyc predict", "torch eager"]
    assert rows[-1].who.startswith("its ")
    assert rows[-1].ratio is not None
    assert rows[-1].ratio > 0
    assert {"ONNX Runtime", "OpenVINO", "TorchScript frozen"} <= {row.who for row in rows}
    assert not any("DISAGREES" in row.note or "failed" in row.note for row in rows), rows
