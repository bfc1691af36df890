"""
Measures `policyc serve` beside other servers of the same policy: wrk on the last core, one worker on the others.

Linux, with wrk and taskset; servers that are not installed are named. Judges nothing but what the issue asked for.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from rich.console import Console

from benchmarks.http import record
from benchmarks.http.measuring import Plan, measure
from benchmarks.http.processes import Machine
from benchmarks.http.results import Result
from benchmarks.http.servers import SERVERS
from benchmarks.http.tables import tables
from benchmarks.machine import machine, version

PROGRAMS = ("wrk", "taskset")
PACKAGES = ("granian", "msgspec", "uvloop", "fastapi", "uvicorn", "httptools")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Measures, prints, writes what is asked for.
    """
    chosen = _parser().parse_args(arguments)
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        print(f"not installed: {', '.join(missing)}; on Debian: apt-get install wrk util-linux", file=sys.stderr)
        return 2
    console = Console(width=None if sys.stdout.isatty() else 140)
    pythons = {server.name: sys.executable for server in SERVERS} | dict(chosen.python)
    servers = [server for server in SERVERS if not chosen.only or server.name in chosen.only]
    plan = Plan(
        chosen.seconds, chosen.rounds, chosen.starts, chosen.requests, servers, pythons, Machine.divided(chosen.roaming)
    )
    with tempfile.TemporaryDirectory(prefix="policyc-http-") as folder:
        result = measure(plan, Path(folder), lambda line: console.print(line, style="dim"))
    result.about = _about(plan, result)
    for table in tables(result):
        console.print(table)
    if chosen.json:
        record.write(result, chosen.json)
    if chosen.record:
        record.keep(result)
        print(f"wrote {record.RECORD} and {record.PLOT}; then: nox -s docs -- --write")
    return 0


def _about(plan: Plan, result: Result) -> dict[str, str]:
    """
    The machine, and how it was measured.
    """

    def cores(several: Sequence[int]) -> str:
        return ", ".join(map(str, several))

    pinned = f"the server on core {cores(plan.machine.server_cores)}, wrk on core {cores(plan.machine.load_cores)}"
    turns = f"{plan.seconds:g} s for each server and case, in {plan.rounds} turns"
    others = statistics.median([one.others for one in result.measured] or [0.0])
    return {
        **machine(),
        **{package: version(package) for package in PACKAGES},
        "pinned": pinned,
        "measured": f"{date.today()}, {turns}",
        "other processes": f"kept {others:.2f} cores busy meanwhile, in the median of all rows",
    }


def _pair(text: str) -> tuple[str, str]:
    name, equals, python = text.partition("=")
    if not equals or name not in {server.name for server in SERVERS}:
        raise argparse.ArgumentTypeError(f"SERVER=PYTHON is expected, found {text!r}")
    return name, python


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    names = [server.name for server in SERVERS]
    parser.add_argument("--seconds", type=float, default=30, metavar="S", help="load for each server and case")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="turns of each server in a case")
    parser.add_argument("--starts", type=int, default=10, metavar="N", help="starts of our server; a peer's are 3")
    parser.add_argument("--requests", type=int, default=512, metavar="N", help="answers compared in each case")
    parser.add_argument("--only", action="append", choices=names, metavar="SERVER", help="; ".join(names))
    parser.add_argument(
        "--python",
        action="append",
        type=_pair,
        default=[],
        metavar="SERVER=PYTHON",
        help="the interpreter of a server that has an environment of its own",
    )
    parser.add_argument("--roaming", action="store_true", help="let servers use wrk's core too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found")
    parser.add_argument("--record", action="store_true", help="make this the run that the documentation shows")
    return parser


if __name__ == "__main__":
    sys.exit(main())
