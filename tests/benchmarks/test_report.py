"""
What a table shows.
"""

import json

import pytest

from benchmarks.contest import Contestant, Effort, Missing
from benchmarks.report import Row, Table, duration, measured, significant


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5, "2.50 s"), (0.0123, "12.3 ms"), (4.567e-6, "4.57 us"), (1.234e-7, "123 ns"), (9.5e-10, "0.950 ns")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1.0, "1.00"), (0.0456, "0.0456"), (35.27, "35.3"), (1234.0, "1234")]
)
def test_significant_digits(value, text):
    assert significant(value) == text


def test_who_is_missing_is_in_the_table():
    entrants: list[Contestant | Missing] = [
        Contestant("ours", len, ["a"]),
        Missing("theirs", "not installed: theirs"),
        Contestant("other", len, ["a"], note="DISAGREES on 1 of 2 observations"),
    ]
    table = measured("name", "Title", entrants, Effort(3, 0.0001, 1), "ahead")
    assert [row.who for row in table.rows] == ["ours", "other", "theirs"]
    ours, other, theirs = table.rows
    assert ours.seconds is not None
    assert ours.ratio is None
    assert other.ratio is not None
    assert theirs == Row("theirs", note="not installed: theirs")
    text = table.text()
    assert "To reach: ahead." in text
    assert "DISAGREES on 1 of 2" in text
    (line,) = (line for line in text.splitlines() if "theirs" in line)
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["theirs", "-", "", "", "not installed: theirs"]
    assert json.loads(json.dumps(table.to_json()))["rows"][2]["note"] == "not installed: theirs"


def test_lines_of_a_table_are_equally_long():
    table = Table("name", "Title", (Row("a|b", 1.0, note="x\ny"), Row("longer than that", 1e-9, 3.0, 2.0, 4.0)))
    lines = [line for line in table.text().splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 4
    assert "a\\|b" in lines[2]
