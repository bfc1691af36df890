"""
The run that is in the repository, and that the documentation shows.
"""

import json
from pathlib import Path

from benchmarks.http.plot import plot
from benchmarks.http.results import Result
from benchmarks.http.tables import document

RECORD = Path(__file__).with_name("recorded.json")
PLOT = Path(__file__).parents[2] / "docs" / "images" / "serving.svg"


def write(result: Result, file: Path) -> None:
    """
    A run as JSON.
    """
    file.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")


def read() -> Result:
    """
    The run that was kept.
    """
    return Result.from_json(json.loads(RECORD.read_text(encoding="utf-8")))


def keep(result: Result) -> None:
    """
    Makes a run the one that is shown.
    """
    write(result, RECORD)
    PLOT.write_text(plot(result), encoding="utf-8", newline="\n")


def shown() -> str:
    """
    The tables of the run that was kept, as Markdown.
    """
    return document(read())
