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
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.http import record  # noqa: E402
from compiler.cli.dataclass_options import documentation, flag  # noqa: E402
from compiler.frontends.sb3 import recurrent  # noqa: E402
from compiler.frontends.sb3.activations import RULES  # noqa: E402
from compiler.frontends.sb3.description import COMBINED, COMMON_ARGUMENTS, FLATTEN, NATURE, Family  # noqa: E402
from compiler.frontends.sb3.extractors import space_findings  # noqa: E402
from compiler.frontends.sb3.families import FAMILIES, LINEAR_ARS, POLICIES  # noqa: E402
from compiler.ir import Box, Dict, Discrete, DType, MultiBinary, MultiDiscrete, Space  # noqa: E402
from compiler.ops import OPS  # noqa: E402
from compiler.options import BuildOptions  # noqa: E402
from compiler.passes import NEEDED, PIPELINE  # noqa: E402
from compiler.products import targets_of  # noqa: E402
from compiler.serve.settings import Settings  # noqa: E402
from compiler.targets.machines import TRIPLES  # noqa: E402
from docs import operations  # noqa: E402

BLOCK = re.compile(r"(?P<start><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end of generated -->)", re.DOTALL)
START = re.compile(r"<!-- generated: [\w-]+ -->")
ACCEPT = "to accept: nox -s docs -- --write"

WIDTH = 120
EXTRACTORS = {FLATTEN: "Mlp", NATURE: "Cnn", COMBINED: "MultiInput"}
"""What SB3's short names of policies say of the features extractor."""
NOT_KEYWORDS = {"observation_space", "action_space", "lr_schedule", "device"}
"""Arguments of policies that SB3 itself gives, so that they never are in policy_kwargs."""
OBSERVATIONS: dict[str, Space] = {
    "Box": Box(DType.FLOAT32, np.zeros(4, np.float32), np.ones(4, np.float32)),
    "images (Box of three dimensions)": Box(
        DType.UINT8, np.zeros((3, 36, 36), np.uint8), np.full((3, 36, 36), 255, np.uint8)
    ),
    "Discrete": Discrete(2),
    "MultiDiscrete": MultiDiscrete((2, 3)),
    "MultiBinary": MultiBinary((2,)),
    "Dict of all these": Dict((("key", Discrete(2)),)),
}
"""An example of each kind of observation space."""


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """
    A Markdown table. A row is one line, whatever lines its texts have.
    """
    titles = list(titles)
    lines = [titles, ["---"] * len(titles), *rows]
    cells = ((" ".join(cell.split()).replace("|", "\\|") for cell in line) for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


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
    return table(
        ("option", "meaning"), ((f"`{flag(name)}`", text) for name, text in documentation(BuildOptions).items())
    )


def serve_options_table() -> str:
    """
    Every option of a server, with what holds where it is not given.
    """
    defaults = {field.name: field.default for field in fields(Settings)}
    rows = []
    for name, text in documentation(Settings).items():
        default = defaults[name]
        rows.append((f"`{flag(name)}`", text, "" if default in (None, (), False) else f"`{default}`"))
    return table(("option", "meaning", "unless given"), rows)


def alias(path: str) -> str:
    """
    What users of SB3 call a policy class: `CnnPolicy`.
    """
    policy = POLICIES[path]
    kind = "Linear" if path == LINEAR_ARS else EXTRACTORS[policy.extractor]
    return f"{kind}{'Lstm' if policy.family is recurrent.FAMILY else ''}Policy"


def families() -> dict[Family, list[str]]:
    """
    The policy classes of every family.
    """
    found: dict[Family, list[str]] = {}
    for path, family in FAMILIES.items():
        found.setdefault(family, []).append(path)
    return found


def policies_table() -> str:
    """
    Every algorithm with the policies and action spaces that the SB3 frontend reads.
    """
    rows = []
    for family, paths in families().items():
        takes = ["action masks"] * family.masked + ["a recurrent state"] * (family is recurrent.FAMILY)
        actions = ", ".join(kind.__name__ for kind in family.action_spaces)
        rows.append((", ".join(family.algorithms), ticked(map(alias, paths)), actions, ", ".join(takes)))
    return table(("algorithms", "policies", "actions", "`predict` takes besides"), rows)


def observations_table() -> str:
    """
    Every features extractor with the observation spaces that it takes.
    """
    rows = []
    for extractor in EXTRACTORS:
        names = dict.fromkeys(alias(path) for path, policy in POLICIES.items() if policy.extractor == extractor)
        taken = [name for name, space in OBSERVATIONS.items() if not list(space_findings(extractor, space))]
        rows.append((f"`{extractor}`", ticked(names), ", ".join(taken)))
    return table(("features extractor", "default of", "observations"), rows)


def arguments_table() -> str:
    """
    Every argument of policies that may stand in policy_kwargs, with the algorithms whose policies have it.
    """
    common = [name for name in COMMON_ARGUMENTS if name not in NOT_KEYWORDS]
    algorithms: dict[str, list[str]] = {}
    for family in families():
        for name in sorted(family.arguments):
            algorithms.setdefault(name, []).extend(family.algorithms)
    together: dict[str, list[str]] = {}
    for name, having in algorithms.items():
        together.setdefault(", ".join(having), []).append(name)
    rows = [(ticked(common), "all"), *((ticked(names), having) for having, names in together.items())]
    return table(("arguments", "algorithms"), rows)


def activations_list() -> str:
    """
    Every activation, as torch.nn calls it.
    """
    return textwrap.fill(ticked(RULES), WIDTH) + "\n"


def ticked(names: Iterable[str]) -> str:
    """
    Names as code.
    """
    return ", ".join(f"`{name}`" for name in names)


def targets_table() -> str:
    """
    The systems that code can be made for ahead of time.
    """
    rows = (
        (
            f"`{triple.name}`",
            ", ".join(level.cpu for level in triple.levels),
            ", ".join(str(level.lanes) for level in triple.levels),
            ", ".join(f"`{target}`" for target in targets_of(triple)),
            triple.tested,
        )
        for triple in TRIPLES
    )
    return table(["triple", "processors", "float32 in a register", "targets", "tested"], rows)


def passes_table() -> str:
    """
    Every pass, in order, with what its file says of it.
    """
    rows = []
    for transform in PIPELINE:
        text = sys.modules[transform.__module__].__doc__ or ""
        rows.append((f"`{transform.__name__}`", text.strip(), "no" if transform.__name__ in NEEDED else "yes"))
    return table(("pass", "what it does", "`--without`"), rows)


def _operations(name: str, rows: Callable[[], operations.Rows]) -> Callable[[], str]:
    return lambda: table(("kind", name, "refused"), rows())


def opsets_line() -> str:
    """
    Which opsets are read.
    """
    oldest, newest = operations.opsets()
    return f"Operators of opsets {oldest} to {newest}.\n"


GENERATORS: dict[str, Callable[[], str]] = {
    "serving-benchmark": record.shown,
    "torch-operations": _operations("operators of `aten`", operations.torch_rows),
    "onnx-operations": _operations("operators", operations.onnx_rows),
    "onnx-opsets": opsets_line,
    "ops": ops_table,
    "passes": passes_table,
    "options": options_table,
    "serve-options": serve_options_table,
    "targets": targets_table,
    "policies": policies_table,
    "observations": observations_table,
    "arguments": arguments_table,
    "activations": activations_list,
}


def renewed(text: str, where: str) -> str:
    """
    The text with every generated block as the code wants it; one whose library is not installed stays as it is.

    Raises:
        ValueError: for a block that nothing generates, or one without an end.
    """

    def renew(block: re.Match[str]) -> str:
        name = block["name"]
        if name not in GENERATORS:
            raise ValueError(f"{where}: nothing generates {name!r}; there are {', '.join(GENERATORS)}")
        if START.search(block[0], len(block["start"])):
            raise ValueError(f"{where}: the block {name!r} has no end")
        try:
            return f"{block['start']}{GENERATORS[name]()}{block['end']}"
        except ImportError as error:
            print(f"{where}: {name} is not checked: {error}")
            return block[0]

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
