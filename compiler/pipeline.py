"""
The way from a checkpoint to a predictor, as a list of steps.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from compiler import frontends, modelfile, passes, products
from compiler.check import check
from compiler.codegen.workspace import workspace_bytes
from compiler.errors import BuildError, ModelFileError, quote
from compiler.frontends.sb3.vecnormalize import check_model
from compiler.frontends.source import Ask
from compiler.frontends.torch_export import from_module
from compiler.ir import Model
from compiler.loading import MANIFEST, load
from compiler.options import BuildOptions
from compiler.package import (
    MODEL_FILE,
    check_target,
    manifest_for,
    package_name,
    place,
    workspace,
    write_files,
)
from compiler.products import Product
from compiler.readers.files import read_file
from compiler.report import Report, dropped_between, median, report_on
from compiler.targets.machines import Triple
from compiler.verify import Predictor, verify, worst
from compiler.verify.asking import single_of
from compiler.verify.cases import finite_cases
from compiler.verify.general import random_inputs

READ = "read"
MEASUREMENTS = 7
SHORTEST_RUN = 10_000_000
LEVEL_OBSERVATIONS = 100
"""Random observations by which the levels of a portable build are compared that this machine does not pick."""


class Step(StrEnum):
    """
    The steps of a build, in order, as a progress display shows them.
    """

    READ = "reading the checkpoint"
    PASSES = "simplifying the model"
    RENDER = "writing the predictor"
    COMPILE = "compiling it"
    VERIFY = "comparing it with its source"
    MEASURE = "measuring it"
    PLACE = "moving it into place"


@dataclass(frozen=True)
class Build:
    """
    A finished predictor.
    """

    path: Path
    """The package: a folder named after the predictor."""
    model: Model
    """The model after the passes, as the model file holds it."""
    source_model: Model
    """The model as it was read."""
    report: Report
    made: dict[str, Any]
    """For targets that are compiled ahead of time: the triple, the processors, what the target says, and by what means
    the result was asked; nothing for Numba."""

    def load(self) -> ModuleType:
        """
        Imports the package, fresh, under its own name.
        """
        return load(self.path, self.path.name)


def build(
    source: Any,
    *,
    out: str | Path = "generated",
    name: str | None = None,
    options: BuildOptions | None = None,
    progress: Callable[[Step], None] = lambda step: None,
    example_inputs: Sequence[Any] | None = None,
    dynamic: Any = True,
    **choices: Any,
) -> Build:
    """
    Compiles a checkpoint, a model file, a model or a PyTorch module into a verified predictor: the package `out/name`.

    Args:
        source: the file's path, a model in memory, or a torch.nn.Module.
        out: the folder in which the package is made; made itself where needed.
        name: the package's name; made from the file's name if not given.
        options: how to build; or its fields as keyword arguments.
        progress: called at the beginning of each step.
        example_inputs: of a module: arguments of its `forward`, of which only shapes and dtypes matter.
        dynamic: of a module: whether the first dimension of all inputs is a batch of any size; or the dynamic
            dimensions of each input, as torch.export takes them, of which the first is the batch and another the length
            of sequences: `{"sentence": {0: "batch", 1: Dim("length", min=1, max=64)}}`.
        choices: fields of `BuildOptions`.

    Raises:
        PolicycError: the source, an option, the place or the predictor is refused. Nothing is left behind then, and an
            older package stays as it was.
    """
    started = time.perf_counter()
    options = options_from(choices) if options is None else options
    resolved, triple = products.resolve(options)
    target = Path(out) / package_name(_file_name(source), name)
    check_target(target)

    progress(Step.READ)
    read, ask = _read(source, options, example_inputs, dynamic)
    source_model = products.reduced(read, options)
    progress(Step.PASSES)
    model = run_passes(source_model, resolved)
    progress(Step.RENDER)
    encoded = modelfile.encode(model)
    sources = products.render(model, encoded, resolved, triple, target.name)
    dropped = dropped_between(source_model, model)

    with workspace(target) as folder, tempfile.TemporaryDirectory(prefix="policyc-") as temporary:
        work = Path(temporary)
        progress(Step.COMPILE)
        product = products.make(sources, work)
        files = product.files | {MODEL_FILE: bytes(encoded.data)}
        write_files(folder, files)
        found = []
        for number, variant in enumerate(products.variants(product)):
            own = work / f"variant{number}"
            own.mkdir()
            with products.examined(folder, variant, own) as (module, means):
                predictor = cast(Predictor, module)
                progress(Step.VERIFY)
                found.append(verify(source_model, model, predictor, resolved, ask=ask))
                progress(Step.MEASURE)
                nanoseconds = None if means else nanoseconds_per_call(predictor, model)
        briefly = replace(resolved, verify_observations=min(resolved.verify_observations, LEVEL_OBSERVATIONS))
        for level, place_of_level in products.lower_levels(product, folder, work):
            with products.examined(place_of_level, level, place_of_level.parent) as (module, _):
                verify(source_model, model, cast(Predictor, module), briefly)
        verification = worst(found)
        progress(Step.PLACE)
        made = made_for(product, triple)
        manifest = manifest_for(source_model, model, options, made, dropped, verification, files)
        write_files(folder, {MANIFEST: manifest})
        place(folder, target)

    seconds = time.perf_counter() - started
    sizes = (len(encoded.data), workspace_bytes(model, resolved.lanes))
    report = report_on(source_model, model, dropped, verification, nanoseconds, seconds, *sizes)
    return Build(target, model, source_model, report, made | ({"means": means} if means else {}))


def load_model(source: str | Path, options: BuildOptions | None = None, **choices: Any) -> Model:
    """
    Reads a checkpoint or a model file, as it is: before any pass.

    Args:
        source: the file.
        options: how to read it; or its fields as keyword arguments.
        choices: fields of `BuildOptions`.

    Raises:
        PolicycError: the file is refused.
    """
    return _read_file(Path(source), options_from(choices) if options is None else options, asked=False)[0]


def _read(
    source: Any, options: BuildOptions, example_inputs: Sequence[Any] | None, dynamic: Any
) -> tuple[Model, Ask | None]:
    """
    The model of any source, and what asks the program that it comes from, where that is PyTorch's.
    """
    if isinstance(source, Model):
        return _made(source, source.name, options), None
    if isinstance(source, str | Path):
        return _read_file(Path(source), options, asked=True)
    kind = type(source).__name__
    if example_inputs is None:
        raise BuildError(
            quote(kind), "is no path and no model; of a torch.nn.Module, give example_inputs=(...) as well"
        )
    found = from_module(
        source,
        example_inputs,
        dynamic=dynamic,
        allow_nonfinite=options.allow_nonfinite_weights,
        longest=options.longest,
    )
    return check(found.model, kind), found.ask


def _read_file(path: Path, options: BuildOptions, *, asked: bool) -> tuple[Model, Ask | None]:
    data = read_file(path)
    if modelfile.is_model_file(data):
        return _made(modelfile.decode(data, str(path)), str(path), options), None
    if modelfile.looks_like_model(data):
        raise ModelFileError(str(path), "is a model file, but damaged or truncated: copy it again, or build it anew")
    model, ask = frontends.read_with_source(path, options, asked=asked)
    return check(model, str(path)), ask


def stages(model: Model, options: BuildOptions) -> Iterator[tuple[str, Model]]:
    """
    The model as it was read, named `read`, then after each pass, named as the pass; each one is checked.
    """
    yield READ, model
    for transform in passes.wanted(options):
        model = check(transform(model, options), f"{model.name}: after the pass {transform.__name__}")
        yield transform.__name__, model


def run_passes(model: Model, options: BuildOptions) -> Model:
    """
    The model after all passes.
    """
    *_, (_, result) = stages(model, options)
    return result


def stage_names(options: BuildOptions | None = None) -> list[str]:
    """
    What `stages` names, in order.
    """
    return [READ, *(transform.__name__ for transform in passes.wanted(options or BuildOptions()))]


def options_from(choices: Mapping[str, Any]) -> BuildOptions:
    """
    Options from keyword arguments or from a manifest, where lists stand for tuples.

    Raises:
        BuildError: for a name that is no option, or a value that it can't have.
    """
    names = [option.name for option in fields(BuildOptions)]
    unknown = [name for name in choices if name not in names]
    if unknown:
        raise BuildError("options", f"unknown: {', '.join(map(quote, unknown))}; there are {', '.join(names)}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in choices.items()}
    return BuildOptions(**values)


def made_for(product: Product, triple: Triple | None) -> dict[str, Any]:
    """
    What the manifest says about a target that is compiled ahead of time.
    """
    if triple is None or product.sources is None:
        return {}
    levels = [{"cpu": level.cpu, "features": level.features, "lanes": level.lanes} for level in triple.levels]
    return {"name": product.sources.name, "triple": triple.name, "levels": levels, **product.facts}


def nanoseconds_per_call(predictor: Predictor, model: Model) -> float:
    """
    How long `act` takes for one observation, of a recurrent policy `Episode.act`: the median of several runs.
    """
    if model.policy is None:
        inputs = [array[0] for array in random_inputs(model, 1)]
        return _median_nanoseconds(lambda: cast(Any, predictor).predict(*inputs))
    question = single_of(model, finite_cases(model, 1, seed=0), 0)
    observation, masks = question.observation, question.masks
    act = cast(Any, predictor).Episode().act if model.states else predictor.act
    return _median_nanoseconds(lambda: act(observation, **masks)) if masks else _median_nanoseconds(act, observation)


def _median_nanoseconds(call: Callable[..., Any], *arguments: Any) -> float:
    calls = 1
    runs: list[float] = []
    while len(runs) < MEASUREMENTS:
        start = time.perf_counter_ns()
        for _ in range(calls):
            call(*arguments)
        elapsed = time.perf_counter_ns() - start
        if elapsed < SHORTEST_RUN:
            calls = calls * 2
        else:
            runs.append(elapsed / calls)
    return median(runs)


def _made(model: Model, where: str, options: BuildOptions) -> Model:
    """
    A model that no frontend has just read, checked.
    """
    check_model(model, options, where)
    return check(model, where)


def _file_name(source: Any) -> str:
    if isinstance(source, Model):
        return source.origin.file
    return Path(source).name if isinstance(source, str | Path) else type(source).__name__
