"""
What the commands print: tables and lines, in colour on a terminal, plain elsewhere.

Every text that comes out of a checkpoint goes through `plain`: a hostile name moves no cursor and forges no line.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from compiler.cli.common import printable
from compiler.compare_source import SourceComparison
from compiler.errors import quote
from compiler.frontends.operations import Inventory
from compiler.ir import Model
from compiler.pipeline import Build, Step
from compiler.report import Dropped, Layer, Report, layers_of, totals
from compiler.verify import Verification
from compiler.verify_package import PackageVerification, ProgramComparison

WIDEST_LINE = 1_000
"""Where nobody looks at a terminal, no line is folded."""


def plain(text: object) -> str:
    """
    The text itself if it is short, printable ASCII, otherwise as an escaped literal.
    """
    shown = quote(text)
    return str(text) if shown == f"'{text}'" else shown


def console() -> Console:
    """
    Where results go. Nothing is taken for markup, and nothing is coloured by guessing.
    """
    out = Console(highlight=False, markup=False, emoji=False)
    return out if out.is_terminal else Console(highlight=False, markup=False, emoji=False, width=WIDEST_LINE)


@contextmanager
def progress_display(wanted: bool) -> Iterator[Callable[[Step], None]]:
    """
    A bar on standard error that shows the step of a build, if that is a terminal, and is gone afterwards.
    """
    errors = Console(stderr=True, highlight=False, markup=False, emoji=False)
    if not (wanted and errors.is_terminal):
        yield lambda step: None
        return
    columns = (BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("", total=len(Step))

        def show(step: Step) -> None:
            progress.update(task, description=step.value, completed=list(Step).index(step), refresh=True)

        yield show


def print_build(build: Build) -> None:
    """
    The account of a build.
    """
    out, report = console(), build.report
    out.print(Text(printable(str(build.path)), style="bold"))
    out.print()
    out.print(layer_table(report.layers))
    out.print()
    for line in (
        _dropped_line(report.dropped, report.verification.policy),
        *_normalised_lines(build.source_model),
        *_assumed_lines(report.assumptions),
        verification_line(report.verification),
        *_made_lines(build),
        _figures_line(report),
    ):
        out.print(line, soft_wrap=True)


def print_model(model: Model) -> None:
    """
    The text form of a model, and a table of its layers.
    """
    out = console()
    out.print(str(model), soft_wrap=True)
    out.print()
    out.print(layer_table(layers_of(model)))
    out.print()
    used = {name for node in model.nodes for name in node.inputs}
    unused = [tensor for tensor in model.constants() if tensor.name not in used]
    out.print(
        f"{model.parameters:,} values in {sum(1 for _ in model.constants())} constants; {len(unused)} of them unused",
        soft_wrap=True,
    )
    for line in (*_normalised_lines(model), *_assumed_lines(model.origin.assumptions)):
        out.print(line, soft_wrap=True)


def print_operations(found: Inventory) -> None:
    """
    A row for each operation of a source: how often it is there, whether it is compiled, and where it is first.
    """
    out = console()
    table = Table(box=None, pad_edge=False)
    for title in ("operation", "count", "compiled", "first at"):
        table.add_column(title, justify="right" if title == "count" else "left", no_wrap=True)
    for one in found.operations:
        place = printable(one.place.replace(f" ({one.name})", ""))
        table.add_row(*map(Text, (plain(one.name), f"{one.count:,}", "yes" if one.supported else "no", place)))
    out.print(table)
    out.print()
    refused = [one for one in found.operations if not one.supported]
    for one in refused:
        instead = f"; the nearest that is compiled: {one.nearest}" if one.nearest else ""
        for reason in one.refusals:
            out.print(f"{plain(one.name)}: {printable(reason)}{instead}", soft_wrap=True)
    for text in found.findings:
        out.print(printable(text), soft_wrap=True)
    total = sum(one.count for one in found.operations)
    said = "all can be compiled" if found.supported else f"{len(refused)} kinds of operations are refused"
    if not found.supported and not refused:
        said = "all operations can be compiled, but not the file as a whole"
    out.print(f"{total:,} operations of {len(found.operations)} kinds: {said}", soft_wrap=True)


def print_verified(path: Path, found: PackageVerification) -> None:
    """
    That a predictor gives what its model gives, and what SB3 gives if it was asked.
    """
    out = console()
    out.print(printable(str(path)), soft_wrap=True)
    out.print(verification_line(found.verification), soft_wrap=True)
    if found.source is not None:
        out.print(source_line(found.source), soft_wrap=True)


def print_targets(rows: Sequence[Mapping[str, Any]], host: str) -> None:
    """
    A row for each system that code can be made for; this machine's is marked.
    """
    table = Table(box=None, pad_edge=False)
    for title in ("triple", "processors", "float32 in a register", "targets", "linker", "tested"):
        table.add_column(title)
    for row in rows:
        mark = " (this machine)" if row["triple"] == host else ""
        lists = [", ".join(map(str, row[key])) for key in ("processors", "lanes", "targets")]
        table.add_row(row["triple"] + mark, *lists, row["linker"], row["tested"])
    console().print(table)


def layer_table(layers: tuple[Layer, ...]) -> Table:
    """
    A row for each layer and one for all.
    """
    table = Table(box=None, pad_edge=False, show_footer=True)
    total = totals(layers)
    table.add_column("layer", "total", no_wrap=True)
    table.add_column("op", no_wrap=True)
    table.add_column("shapes", no_wrap=True)
    for title in ("parameters", "bytes", "multiply_adds"):
        table.add_column(title.replace("_", "-"), f"{total[title]:,}", justify="right", no_wrap=True)
    for layer in layers:
        numbers = (f"{value:,}" for value in (layer.parameters, layer.bytes, layer.multiply_adds))
        shapes = f"{_shape(layer.inputs)} to {_shape(layer.outputs)}"
        table.add_row(*map(Text, (plain(layer.name), layer.op, shapes, *numbers)))
    return table


def verification_line(found: Verification) -> str:
    """
    What was compared, and how near it was.
    """
    together = ", each alone and in batches" if found.batched else ", one after the other"
    parts = [f"verified: {found.observations:,} observations{together}"]
    if found.policy:
        parts.append(f"worst error of an action {_error(found.action_error)} of its range")
        parts.append(f"of a score {_error(found.score_error)} of the largest")
    else:
        parts.append(f"worst error of an output {_error(found.score_error)} of its largest value")
    for count, text in (
        (found.near_ties, "near ties decided otherwise"),
        (found.ill_conditioned, "ill-conditioned, compared more loosely"),
        (found.overflowing, "beyond float32, not compared"),
        (found.refused, "with NaN or infinity, refused"),
    ):
        if count:
            parts.append(f"{count} {text}")
    return "; ".join(parts)


def source_line(found: SourceComparison | ProgramComparison) -> str:
    """
    What was compared with the source, and how near it was.
    """
    if isinstance(found, ProgramComparison):
        return f"the same as its source, a program of the format {found.format}: {found.observations:,} observations"
    parts = [
        f"the same as Stable-Baselines3's {found.algorithm}: {found.observations:,} observations, alone and in a batch",
        f"largest difference of an action {_error(found.action_error)} of its range",
    ]
    if found.score_error is not None:
        parts.append(f"of a score {_error(found.score_error)} of the largest")
    if found.near_ties:
        parts.append(f"{found.near_ties} near ties decided otherwise")
    return "; ".join(parts)


def _made_lines(build: Build) -> list[str]:
    """
    For targets that are compiled ahead of time: what for, the files, and who answered.
    """
    if not build.made:
        return []
    cpus = ", ".join(plain(level["cpu"]) for level in build.made["levels"])
    sizes = sorted((path.name, path.stat().st_size) for path in build.path.iterdir() if path.is_file())
    lines = [f"made for: {build.made['triple']}: {cpus}"]
    if "means" in build.made:
        lines.append(f"asked: {build.made['means']}")
    if "memory" in build.made:
        lines.append(_memory_line(build.made["memory"]))
    return [*lines, "files: " + ", ".join(f"{plain(name)} ({size:,})" for name, size in sizes)]


def _memory_line(needs: Mapping[str, Any]) -> str:
    """
    What firmware needs of a microcontroller's memory.
    """
    stack = "unknown" if needs["stack"] is None else f"{needs['stack']:,}"
    flash = f"flash {needs['flash']:,} bytes (code {needs['code']:,}, weights {needs['weights']:,})"
    ram = f"RAM {needs['ram']:,} bytes (state {needs['state']:,}, data {needs['data']:,}, stack {stack})"
    helpers = f"; of the compiler's library: {', '.join(needs['helpers'])}" if needs["helpers"] else ""
    return f"memory: {flash}; {ram}{helpers}"


def _figures_line(report: Report) -> str:
    speed = report.nanoseconds_per_call
    called = (
        [f"speed: {speed:,.0f} ns per call of {'act' if report.verification.policy else 'predict'}"]
        if speed is not None
        else []
    )
    sizes = f"the model file has {report.bytes:,} bytes, the workspace {report.workspace:,}"
    return "; ".join([*called, f"built in {report.seconds:.1f} s", sizes])


def _dropped_line(dropped: tuple[Dropped, ...], policy: bool) -> str:
    if not dropped:
        return "left out: nothing"
    tensors, parameters = sum(group.tensors for group in dropped), sum(group.parameters for group in dropped)
    wanted = "action" if policy else "output"
    groups = ", ".join(f"{plain(group.prefix)} ({group.parameters:,})" for group in dropped)
    return f"left out: {tensors} tensors with {parameters:,} values that no {wanted} depends on: {groups}"


def _normalised_lines(model: Model) -> list[str]:
    """
    Which observations are normalised by the statistics of VecNormalize, where a file of them went into the model.
    """
    if not model.origin.vecnormalize:
        return []
    parts = [node.inputs[0] for node in model.nodes if node.op == "normalize"]
    shown = ", ".join(map(plain, parts)) or "nothing, as its norm_obs is false"
    return [f"normalised: {shown}; by the VecNormalize file with the SHA-256 {model.origin.vecnormalize}"]


def _assumed_lines(assumptions: tuple[str, ...]) -> list[str]:
    return [f"assumed: {printable(text)}" for text in assumptions] or ["assumed: nothing"]


def _error(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "1"
