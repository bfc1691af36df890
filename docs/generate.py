"""
Writes the tables that come from the code into README.md and docs/*.md.

    python docs/generate.py --check    # fails with a diff where a table is not what the code says
    python docs/generate.py --write    # renews them

A table stands between two comments, and whatever else is between them is replaced:

    <!-- generated: ops -->
    <!-- end of generated -->
"""

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from compiler.cli.choices import documentation, flag  # noqa: E402
from compiler.frontends.sb3.families import FAMILIES  # noqa: E402
from compiler.ops import OPS  # noqa: E402

BLOCK = re.compile(r"(?P<start><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end of generated -->)", re.DOTALL)
START = re.compile(r"<!-- generated: [\w-]+ -->")
ACCEPT = "to accept: nox -s docs -- --write"


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """
    A Markdown table.
    """
    titles = list(titles)
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def ops_table() -> str:
    """
    Every op that a model may hold, with the attributes that it takes.
    """
    rows = []
    for op in sorted(OPS.values(), key=lambda op: op.name):
        attributes = ", ".join(
            f"`{name}`" if isinstance(value, type) else f"`{name}={value!r}`" for name, value in op.attributes.items()
        )
        rows.append((f"`{op.name}`", op.summary, attributes))
    return table(("op", "computes", "attributes"), rows)


def options_table() -> str:
    """
    Every option of a build, as it is spelled on the command line.
    """
    return table(("option", "meaning"), ((f"`{flag(name)}`", text) for name, text in documentation().items()))


def policies_table() -> str:
    """
    Every policy class that the SB3 frontend reads.
    """
    rows = [(", ".join(family.algorithms), f"`{path.rpartition('.')[2]}`") for path, family in FAMILIES.items()]
    return table(("algorithms", "policy class"), rows)


GENERATORS: dict[str, Callable[[], str]] = {
    "ops": ops_table,
    "options": options_table,
    "policies": policies_table,
}


def renewed(text: str, where: str) -> str:
    """
    The text with every generated block as the code wants it.

    Raises:
        ValueError: for a block that nothing generates, or one without an end.
    """

    def renew(block: re.Match[str]) -> str:
        name = block["name"]
        if name not in GENERATORS:
            raise ValueError(f"{where}: nothing generates {name!r}; there are {', '.join(GENERATORS)}")
        if START.search(block[0], len(block["start"])):
            raise ValueError(f"{where}: the block {name!r} has no end")
        return f"{block['start']}{GENERATORS[name]()}{block['end']}"

    result = BLOCK.sub(renew, text)
    if len(START.findall(text)) != len(BLOCK.findall(text)):
        raise ValueError(f"{where}: a generated block has no end")
    return result


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """
    Checks or renews all documents; the exit status.
    """
    parser = argparse.ArgumentParser(description="Keeps the generated tables of the documentation true.")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="fail with a diff where a table is out of date")
    action.add_argument("--write", action="store_true", help="renew the tables")
    choice = parser.parse_args(arguments)
    stale = False
    for path in (path for path in (root / "README.md", *sorted((root / "docs").glob("*.md"))) if path.is_file()):
        before = path.read_text(encoding="utf-8")
        name = path.relative_to(root).as_posix()
        try:
            after = renewed(before, name)
        except ValueError as error:
            print(error)
            return 1
        if before == after:
            continue
        stale = True
        if choice.write:
            path.write_text(after, encoding="utf-8", newline="\n")
            print(f"{name}: renewed")
        else:
            lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, f"{name} renewed", lineterm="")
            print("\n".join(lines))
    if stale and choice.check:
        print(ACCEPT)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
