"""
Prints tables of ratios, with the machine named; judges nothing by time.
"""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contest import FULL, QUICK
from benchmarks.machine import describe, machine
from benchmarks.report import Printed, Row, Table
from benchmarks.subjects import Bench
from benchmarks.tables import TABLES


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Runs the tables that are asked for.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short rounds: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to FILE")
    parser.add_argument("--only", action="append", choices=list(TABLES), metavar="NAME", help="|".join(TABLES))
    chosen = parser.parse_args(arguments)

    system = machine()
    print(describe(system))
    tables: list[Printed] = []
    with tempfile.TemporaryDirectory(prefix="policyc-benchmarks-") as folder:
        bench = Bench(Path(folder))
        for name in chosen.only or TABLES:
            for table in tables_of(name, bench, quick=chosen.quick):
                print(table.text(), flush=True)
                tables.append(table)
    if chosen.json:
        content = {"machine": system, "quick": chosen.quick, "tables": [table.to_json() for table in tables]}
        chosen.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def tables_of(name: str, bench: Bench, quick: bool) -> Sequence[Printed]:
    """
    The tables of one name; if what they are about can't be made here, a table that says so.
    """
    try:
        return TABLES[name](bench, QUICK if quick else FULL)
    except ImportError as error:
        return [Table(name, name, (Row("all", note=f"not installed: {error.name or error}"),))]


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # the peers' advice
    sys.exit(main())
