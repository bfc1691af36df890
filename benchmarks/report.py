"""
Tables of what was measured, as Markdown for readers and as JSON for programs.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.contest import PROCESSOR, Clock, Contestant, Effort, Missing, Timing, compete, ratio

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
COLUMNS = ("who", "time", "ratio", "ratio in half of the rounds", "note")


@dataclass(frozen=True)
class Row:
    """
    One line of a table.
    """

    who: str
    seconds: float | None = None
    """The median; None for what could not be measured."""
    ratio: float | None = None
    """How many times the time of the table's first row this is."""
    low: float | None = None
    high: float | None = None
    """Between these lies the ratio in half of the rounds."""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """
    What belongs together; the first row is ours, the others are measured against it.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    reach: str = ""
    """What the issues ask for."""

    def text(self) -> str:
        """
        The table in Markdown.
        """
        lines = [list(COLUMNS), *(list(_texts(row)) for row in self.rows)]
        return _section(self.title, self.reach, markdown(lines, "lrrrl"))

    def to_json(self) -> dict[str, Any]:
        """
        All fields as plain JSON values.
        """
        return asdict(self)


@dataclass(frozen=True)
class Size:
    """
    One line of a table of sizes.
    """

    what: str
    size: int | None
    """In bytes; None for what could not be made."""
    reach: int | None = None
    """Bytes that the issues ask for at most."""
    note: str = ""


@dataclass(frozen=True)
class SizeTable:
    """
    What takes how much room.
    """

    name: str
    title: str
    rows: tuple[Size, ...]

    def text(self) -> str:
        """
        The table in Markdown.
        """
        lines = [["what", "bytes", "to reach, below", "note"]]
        for row in self.rows:
            size = "-" if row.size is None else f"{row.size:,}"
            lines.append([row.what, size, "" if row.reach is None else f"{row.reach:,}", row.note])
        return _section(self.title, "", markdown(lines, "lrrl"))

    def to_json(self) -> dict[str, Any]:
        """
        All fields as plain JSON values.
        """
        return asdict(self)


Printed = Table | SizeTable


def measured(
    name: str,
    title: str,
    entrants: Sequence[Contestant | Missing],
    effort: Effort,
    reach: str = "",
    clock: Clock = PROCESSOR,
) -> Table:
    """
    The table of a contest; who is missing comes last, with the reason.
    """
    timings = compete([one for one in entrants if isinstance(one, Contestant)], effort, clock)
    absent = tuple(Row(one.name, note=one.reason) for one in entrants if isinstance(one, Missing))
    return Table(name, title, (*rows_of(timings), *absent), reach)


def rows_of(timings: Sequence[Timing]) -> tuple[Row, ...]:
    """
    Rows with ratios against the first.
    """
    ours, *others = timings
    rows = [Row(ours.name, ours.median, note=ours.note)]
    for other in others:
        against = ratio(other, ours)
        rows.append(Row(other.name, other.median, against.value, against.low, against.high, other.note))
    return tuple(rows)


def duration(seconds: float) -> str:
    """
    Three digits and a unit.
    """
    scale, unit = next(((scale, unit) for scale, unit in UNITS if seconds >= scale), UNITS[-1])
    return f"{significant(seconds / scale)} {unit}"


def significant(value: float) -> str:
    """
    The number with three significant digits, without an exponent.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _texts(row: Row) -> tuple[str, str, str, str, str]:
    time = "-" if row.seconds is None else duration(row.seconds)
    against = "" if row.ratio is None else f"{significant(row.ratio)} x"
    spread = "" if row.low is None or row.high is None else f"{significant(row.low)} to {significant(row.high)}"
    return row.who, time, against, spread, row.note


def _section(title: str, reach: str, body: str) -> str:
    return f"### {title}\n" + (f"\nTo reach: {reach}.\n" if reach else "") + f"\n{body}\n"


def markdown(lines: Sequence[Sequence[str]], sides: str) -> str:
    """
    A table whose first line is its head; the sides say of each column whether it lies left or right.
    """
    cells = [[_cell(text) for text in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = [
        ":" + "-" * (width - 1) if side == "l" else "-" * (width - 1) + ":"
        for width, side in zip(widths, sides, strict=True)
    ]
    head, *body = [[text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *body])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
