"""
What a build makes of a model, and how that is asked before it counts: the way from options to a target.
"""

import importlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from compiler import __version__, codegen, modelfile
from compiler.codegen.general_native import GeneralLevel, GeneralNativeView
from compiler.codegen.native import LevelView, NativeView
from compiler.errors import BuildError
from compiler.ir import Model
from compiler.loading import imported
from compiler.modelfile import EncodedModel
from compiler.options import BuildOptions
from compiler.package import MODEL_FILE, write_files
from compiler.targets import Sources, machines
from compiler.targets.bridge import emulator_for
from compiler.targets.machines import Triple

NUMBA = "numba"
IN_PYTHON = (NUMBA, "native")
"""The targets whose predictors draw actions and give values; the others give actions and scores."""


@dataclass(frozen=True)
class Product:
    """
    What is made of a model.
    """

    files: dict[str, bytes]
    """By their names, without the model file and the manifest."""
    sources: Sources | None
    """What it was made of; None for Numba."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What its target says about it: the memory that it takes."""


def resolve(options: BuildOptions) -> tuple[BuildOptions, Triple | None]:
    """
    The options with the registers of what is built for, and its triple; None for Numba.

    Raises:
        BuildError: options that don't go together, or a triple or processor that there is not.
    """
    default = BuildOptions()
    if options.target == NUMBA:
        for name in ("triple", "cpu", "single_file"):
            if getattr(options, name) != getattr(default, name):
                raise BuildError("options", f"{name} goes with a target that is compiled ahead of time, not with numba")
        return options, None
    if options.lanes != default.lanes:
        raise BuildError(
            "options", "lanes goes with the target numba; the others take the registers of their processor"
        )
    if options.single_file and options.target != "c":
        raise BuildError("options", f"single_file goes with the target c, not with {options.target}")
    if options.with_value and options.target not in IN_PYTHON:
        raise BuildError(
            "options",
            f"with_value: the target {options.target} gives actions and scores; numba and native have value()",
        )
    named = options.triple or ("wasm32" if options.target == "wasm" else None)
    triple = machines.find(named)
    if options.target not in targets_of(triple):
        fitting = " or ".join(targets_of(triple))
        raise BuildError("options", f"{options.target} can't be made for {triple.name}; --target {fitting} can")
    triple = machines.for_cpu(triple, options.cpu)
    return replace(options, lanes=triple.lanes), triple


def targets_of(triple: Triple) -> tuple[str, ...]:
    """
    What can be made for a triple.
    """
    if triple.system == "wasm":
        return ("wasm",)
    return ("c",) if triple.freestanding else ("native", "c", "exe")


def module_of(target: str) -> Any:
    """
    The module of a target that compiles ahead of time.
    """
    return importlib.import_module(f"compiler.targets.{target}")


def reduced(model: Model, options: BuildOptions) -> Model:
    """
    The model as far as a target has a use for it: without what actions are drawn from, and the value.
    """
    if options.target in IN_PYTHON or model.policy is None:
        return model
    outputs = tuple(output for output in model.outputs if output.role in ("action", "scores"))
    return replace(model, outputs=outputs, policy=replace(model.policy, sampling=None))


def render(
    model: Model, encoded: EncodedModel, options: BuildOptions, triple: Triple | None, name: str
) -> Sources | dict[str, str]:
    """
    The sources of a product: what its target makes it of; for Numba they are the files themselves, by their names.

    Args:
        model: after all passes.
        encoded: its model file.
        options: with the registers that `resolve` found.
        triple: which it found.
        name: the product's name.
    """
    if triple is None:
        return codegen.render(model, encoded, options, name)
    return sources_of(model, encoded, options, triple, name)


def make(sources: Sources | dict[str, str], work: Path) -> Product:
    """
    Makes what a target makes.

    Args:
        sources: from `render`.
        work: an empty folder for intermediate files.
    """
    if isinstance(sources, dict):
        return Product({file: text.encode() for file, text in sources.items()}, None)
    target = module_of(sources.options.target)
    files = target.make(work, sources)
    facts = target.facts(work, sources) if hasattr(target, "facts") else {}
    return Product(files, sources, facts)


def made_before(model: Model, options: BuildOptions, triple: Triple | None, name: str) -> Product:
    """
    What an earlier build made of a model, whose files lie somewhere; with the sources that it takes to ask it.
    """
    if triple is None:
        return Product({}, None)
    return Product({}, sources_of(model, modelfile.encode(model), options, triple, name))


def sources_of(model: Model, encoded: EncodedModel, options: BuildOptions, triple: Triple, name: str) -> Sources:
    """
    The sources that a target is made of.
    """
    if model.policy is None:
        return _sources_of_general(model, encoded, options, triple, name)
    levels, kernels = [], {}
    for level in triple.levels:
        view, texts = codegen.render_kernels(model, encoded, options, name, level.lanes, level.blocks)
        levels.append(LevelView(level.suffix, level.cpu, view, level.blocks))
        kernels[level.suffix] = texts
    predictor = levels[-1].predictor
    exports = [export for export in module_of(options.target).EXPORTS if export != "extras" or predictor.extra_results]
    batches = not triple.freestanding and not predictor.recurrent
    native_view = NativeView(name=name, levels=levels, exports=exports, batches=batches, version=__version__)
    weights = bytes(encoded.data)[encoded.blob_offset :]
    return Sources(name, triple, native_view, kernels, codegen.render_face(predictor), weights, options)


def _sources_of_general(
    model: Model, encoded: EncodedModel, options: BuildOptions, triple: Triple, name: str
) -> Sources:
    """
    The same of a model that is no policy.
    """
    levels, kernels = [], {}
    target = module_of(options.target)
    divides = hasattr(target, "divides") and target.divides(triple)
    for level in triple.levels:
        view, texts = codegen.render_general_kernels(
            model, encoded, options, name, level.lanes, blocks=level.blocks, divides=divides
        )
        levels.append(GeneralLevel(level.suffix, level.cpu, view))
        kernels[level.suffix] = texts
    native_view = GeneralNativeView(name=name, levels=levels, version=__version__)
    weights = memoryview(encoded.data)[encoded.blob_offset :][: encoded.blob_size]
    faces = codegen.render_general_face(native_view.predictor)
    return Sources(name, triple, native_view, kernels, faces, weights, options)


def lower_levels(product: Product, place: Path, work: Path) -> Iterator[tuple[Product, Path]]:
    """
    The levels of a portable product that this machine has, but would not pick, each as a product of its own.

    They have the very kernels of the portable one; each comes with the folder that its files lie in.

    Args:
        product: what was made.
        place: where its files lie, and the model file.
        work: where it was made.
    """
    sources = product.sources
    if sources is None or not sources.triple.together or emulator_for(sources.triple) != []:
        return
    able = [level for level in sources.triple.levels if machines.is_here(level)]
    for number, level in enumerate(able[:-1]):
        around = work / f"level{level.suffix}"
        folder = around / "files"
        around.mkdir()
        folder.mkdir(mode=0o700)
        (kernels,) = work.rglob(f"{sources.name}_kernels{level.suffix}.o")
        own = replace(
            sources,
            triple=replace(sources.triple, levels=(level,)),
            view=sources.view.of_level(number),
            translated=(kernels,),
        )
        files = module_of(sources.options.target).make(around, own)
        write_files(folder, files)
        shutil.copyfile(place / MODEL_FILE, folder / MODEL_FILE)
        yield Product(files, own), folder


def variants(product: Product) -> list[Product]:
    """
    What is asked one after the other: a target may make several files for different processors, one of which is used.
    """
    sources = product.sources
    target = None if sources is None or sources.options.target in IN_PYTHON else module_of(sources.options.target)
    if sources is None or not hasattr(target, "variants"):
        return [product]
    return [replace(product, sources=variant) for variant in module_of(sources.options.target).variants(sources)]


@contextmanager
def examined(folder: Path, product: Product, work: Path) -> Iterator[tuple[ModuleType, str]]:
    """
    What was made, as a module with the face of a predictor, and by what means it answers.

    Args:
        folder: where its files lie.
        product: one of `variants`.
        work: an empty folder for intermediate files.
    """
    sources = product.sources
    if sources is None or sources.options.target in IN_PYTHON:
        place, means = (folder, "") if sources is None else module_of("native").importable(folder, work, sources)
        with imported(place) as module:
            yield module, means
        return
    face = work / "face"
    face.mkdir()
    write_files(face, {name: text.encode() for name, text in sources.faces.items()})
    with (
        module_of(sources.options.target).asked(folder, work, sources) as (kernels, means),
        imported(face, _native=kernels) as module,
    ):
        yield module, means
