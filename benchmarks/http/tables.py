"""
What a run found, for readers: by rich in a terminal, as Markdown in the documentation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.http.results import MB, Measured, Result
from benchmarks.report import duration, markdown

LOAD = ("server", "connections", "requests/s", "observations/s", "p50", "p99", "p99.9", "errors", "cores", "processor")
"""Of a table of load. The last two are the server's: the cores it kept busy, its processor time for a request."""
SERVER = ("server", "ready after", "resident", "proportional", "private", "processes", "what it is")
VERDICT = ("server", "right", "wrong", "lost", "first fault")
WORKER = -1
"""A server's last process: it has one worker, or does its work itself."""


@dataclass(frozen=True)
class Grid:
    """
    A table of texts.
    """

    title: str
    head: Sequence[str]
    sides: str
    """Of each column, `l` for left or `r` for right."""
    rows: Sequence[Sequence[str]]


def grids(result: Result) -> Iterator[Grid]:
    """
    All tables of a run.
    """
    reaches = [(one.what, one.wanted, one.found, "yes" if one.reached else "no") for one in result.reaches()]
    yield Grid("What was to be reached", ("what", "wanted", "found", "reached"), "lrrl", reaches)
    for title, rows in _cases(result).items():
        yield Grid(title, LOAD, "lrrrrrrrrr", [_line(one) for one in rows])
    yield Grid("Start, and memory of the process that answers", SERVER, "lrrrrrl", list(_servers(result)))
    yield Grid("Answers compared with those of Stable-Baselines3", VERDICT, "lrrrl", list(_verdicts(result)))


def tables(result: Result) -> Iterator[Table]:
    """
    For a terminal.
    """
    for grid in grids(result):
        table = Table(title=grid.title, title_justify="left")
        for name, side in zip(grid.head, grid.sides, strict=True):
            table.add_column(name, justify="left" if side == "l" else "right")
        for row in grid.rows:
            table.add_row(*row)
        yield table


def document(result: Result) -> str:
    """
    For the documentation, with the machine named.
    """
    machine = "\n".join(f"- {name}: {value}" for name, value in result.about.items())
    sections = (f"### {grid.title}\n\n{markdown([grid.head, *grid.rows], grid.sides)}\n" for grid in grids(result))
    return "\n".join([machine + "\n", *sections])


def _cases(result: Result) -> dict[str, list[Measured]]:
    """
    The measured cases by the table that they stand in.
    """
    found: dict[str, list[Measured]] = {}
    for one in result.measured:
        connections = "connections kept" if one.kept else "a connection for each request"
        found.setdefault(f"{one.kind}, {connections}", []).append(one)
    return {title: sorted(rows, key=lambda one: one.connections) for title, rows in found.items()}


def _line(one: Measured) -> tuple[str, ...]:
    times = (duration(seconds) for seconds in (one.p50, one.p99, one.p999))
    rates = (f"{one.rate:,.0f}", f"{one.rate * one.rows:,.0f}")
    used = (f"{one.cpu:.2f}", duration(one.processor_time))
    return (one.server, str(one.connections), *rates, *times, f"{one.errors:,}", *used)


def _servers(result: Result) -> Iterator[tuple[str, ...]]:
    for start in result.started:
        processes = result.memory.get(start.server)
        if processes:
            worker = processes[WORKER]
            sizes = (f"{size / MB:.1f} MB" for size in (worker.resident, worker.proportional, worker.private))
            yield (start.server, duration(start.median), *sizes, str(len(processes)), start.about)
    for name, reason in result.missing.items():
        yield (name, "-", "-", "-", "-", "-", reason)


def _verdicts(result: Result) -> Iterator[tuple[str, ...]]:
    for name in dict.fromkeys(one.server for one in result.checked):
        own = [one for one in result.checked if one.server == name]
        counts = (
            f"{sum(numbers):,}" for numbers in zip(*((one.right, one.wrong, one.lost) for one in own), strict=True)
        )
        yield (name, *counts, next((f"{one.case}: {one.first}" for one in own if one.first), ""))
