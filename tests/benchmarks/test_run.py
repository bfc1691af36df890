"""
The command prints what it is asked for.
"""

import json
import sys

import pytest

from benchmarks.__main__ import main, tables_of
from benchmarks.report import Row
from benchmarks.subjects import Bench
from benchmarks.tables import TABLES
from tests.thorough import chosen


@pytest.mark.slow
def test_a_quick_run_of_one_table(tmp_path, capsys):
    file = tmp_path / "result.json"
    assert main(["--quick", "--only", "kernel", "--json", str(file)]) == 0
    text = capsys.readouterr().out
    assert "processor: " in text
    assert "| policyc kernel " in text
    content = json.loads(file.read_text())
    assert content["quick"] is True
    assert {"processor", "cores", "Python", "numba", "torch", "onnxruntime", "openvino"} <= content["machine"].keys()
    (table,) = content["tables"]
    peak, kernel = table["rows"]
    assert kernel["ratio"] == pytest.approx(kernel["seconds"] / peak["seconds"])
    assert kernel["seconds"] > 0
    assert peak["seconds"] > 0


ANSWERS = {
    "masked": ("policyc predict", "MaskablePPO.predict"),
    "recurrent": ("policyc Episode().act", "RecurrentPPO.predict"),
}


@pytest.mark.slow
def test_everybody_gives_the_agents_actions(capsys):
    pytest.importorskip("sb3_contrib")
    pytest.importorskip("onnxruntime")
    for table in chosen(ANSWERS, "masked"):
        assert main(["--quick", "--only", table]) == 0
        text = capsys.readouterr().out
        assert not {"DISAGREES", "failed"} & set(text.split())
        assert text.count("| ONNX Runtime ") == 1
        for who in ANSWERS[table]:
            assert f"| {who} " in text


def test_a_table_that_can_not_be_made_here(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    (table,) = tables_of("actor", Bench(tmp_path), quick=True)
    (row,) = table.rows
    assert isinstance(row, Row)
    assert row.note == "not installed: stable_baselines3"
    assert row.seconds is None


def test_unknown_tables_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--only", "nothing"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in TABLES)
