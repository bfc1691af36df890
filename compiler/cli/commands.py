"""
The commands that compile: build, inspect, verify, targets.
"""

from pathlib import Path
from typing import Any

import click

from compiler.cli.choices import chosen
from compiler.cli.common import FILE, REFUSED, common, print_json
from compiler.cli.dataclass_options import options_of
from compiler.cli.display import (
    print_build,
    print_model,
    print_operations,
    print_targets,
    print_verified,
    progress_display,
)
from compiler.frontends import operations
from compiler.frontends.sb3.vecnormalize import STATISTICS_UNKNOWN
from compiler.ir import Model
from compiler.options import BuildOptions
from compiler.pipeline import build, load_model, stage_names, stages
from compiler.products import targets_of
from compiler.report import layers_of, source_of, totals
from compiler.targets.machines import TRIPLES, host
from compiler.targets.toolchain import LINKER
from compiler.verify_package import verify_package


def _warn(model: Model) -> None:
    """
    Says on standard error without what a predictor of this model acts wrongly.
    """
    if STATISTICS_UNKNOWN in model.origin.assumptions:
        click.secho(f"policyc: warning: {STATISTICS_UNKNOWN}", fg="yellow", err=True)


@click.command("build")
@click.argument("source", type=FILE)
@click.option("--out", type=FILE, default=Path("generated"), show_default=True, help="The folder of the package.")
@click.option("--name", help="The package's name; made from the file's name if not given.")
@options_of(BuildOptions)
@common
def build_command(source: Path, out: Path, name: str | None, as_json: bool, **choices: Any) -> None:
    """
    Compile SOURCE, a checkpoint or a model file, into the package OUT/NAME, and verify it.
    """
    options = chosen(choices)
    with progress_display(not as_json) as progress:
        result = build(source, out=out, name=name, options=options, progress=progress)
    _warn(result.source_model)
    if as_json:
        print_json({"path": str(result.path), "options": options.given(), **result.report.to_json()})
    else:
        print_build(result)


@click.command("inspect")
@click.argument("source", type=FILE)
@click.option(
    "--after", metavar="PASS", help="Show the model after this pass, the last if not given; `read`: before any."
)
@click.option(
    "--ops",
    is_flag=True,
    help="List all operations of SOURCE, a program of PyTorch or ONNX, and which can't be compiled; then the exit "
    "status is 3.",
)
@options_of(BuildOptions)
@common
def inspect_command(source: Path, after: str | None, ops: bool, as_json: bool, **choices: Any) -> None:
    """
    Show the model of SOURCE, a checkpoint or a model file.
    """
    if ops:
        if after is not None:
            raise click.UsageError("--ops shows what is in the file: without --after")
        found = operations(source, chosen(choices))
        if as_json:
            print_json({"path": str(source), **found.to_json()})
        else:
            print_operations(found)
        click.get_current_context().exit(0 if found.supported else REFUSED)
    options = chosen(choices)
    names = stage_names(options)
    if after is not None and after not in names:
        raise click.BadParameter(f"{after!a} is not one of {', '.join(names)}", param_hint="--after")
    last = after or names[-1]
    model = next(model for name, model in stages(load_model(source, options), options) if name == last)
    _warn(model)
    if not as_json:
        print_model(model)
        return
    layers = layers_of(model)
    print_json(
        {
            "after": last,
            "passes": names,
            "model": str(model).splitlines(),
            "layers": [vars(layer) for layer in layers],
            "totals": totals(layers),
            "source": source_of(model.origin),
            "assumptions": list(model.origin.assumptions),
        }
    )


@click.command("verify")
@click.argument("predictor", type=FILE)
@click.option(
    "--against",
    type=FILE,
    metavar="CHECKPOINT",
    help="Compare with what SB3 predicts with this checkpoint, or with this program.",
)
@click.option(
    "--vecnormalize", type=FILE, metavar="FILE", help="The statistics that PREDICTOR was built with, for SB3."
)
@click.option("--trust", is_flag=True, help="Let SB3, or torch, load these files, which executes what they say.")
@common
def verify_command(
    predictor: Path, against: Path | None, vecnormalize: Path | None, trust: bool, as_json: bool
) -> None:
    """
    Compare PREDICTOR, a package that policyc built, with its model file, or with its source.
    """
    if vecnormalize is not None and against is None:
        raise click.UsageError("--vecnormalize goes with --against: the package itself has its statistics in it")
    found = verify_package(predictor, against=against, vecnormalize=vecnormalize, trust=trust)
    if as_json:
        print_json({"path": str(predictor), "against": None if against is None else str(against), **found.to_json()})
    else:
        print_verified(predictor, found)


@click.command("targets")
@common
def targets_command(as_json: bool) -> None:
    """
    List the systems that code can be made for ahead of time.
    """
    rows = [
        {
            "triple": triple.name,
            "processors": [level.cpu for level in triple.levels],
            "lanes": [level.lanes for level in triple.levels],
            "targets": list(targets_of(triple)),
            "linker": LINKER,
            "tested": triple.tested,
        }
        for triple in TRIPLES
    ]
    if as_json:
        print_json({"host": host(), "targets": rows})
    else:
        print_targets(rows, host())
