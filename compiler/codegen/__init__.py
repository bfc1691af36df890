"""
From a model to the sources of its predictor: names, places and shapes are decided here, templates put them on paper.
"""

import hashlib
import re
import symtable
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import jinja2

from compiler.codegen.blocks import plan_block
from compiler.codegen.body import KernelView
from compiler.codegen.c_source import wrapped
from compiler.codegen.division import most_parts, worth_dividing
from compiler.codegen.expressions import activated, plus, steps, times
from compiler.codegen.general import GeneralView
from compiler.codegen.general_building import TAKEN, general_view, names_of
from compiler.codegen.general_native import GeneralNativeView
from compiler.codegen.inputs import KINDS, input_names
from compiler.codegen.interface import interface_of
from compiler.codegen.kernels import NEST, function_names, layer_view, template_name, together_view
from compiler.codegen.layer import LayerView
from compiler.codegen.memory import ARRANGING
from compiler.codegen.naming import BLOCK, comment, kernel_names
from compiler.codegen.native import NativeView
from compiler.codegen.predictor import PredictorView, is_spliced, predictor_view
from compiler.codegen.source import define, import_order, importing
from compiler.codegen.workspace import stays
from compiler.ir import Model, Node
from compiler.modelfile import EncodedModel
from compiler.options import BuildOptions
from compiler.resources import resource

PACKAGE = (
    "__init__.py",
    "predictor.py",
    "inputs.py",
    "kernels.py",
    "entries.py",
    "threads.py",
    "inspection.py",
    "simd.py",
    "lowering.py",
    "jit.py",
)
"""The files of every package, each from the template of its name."""
KERNELS = "kernels.py"
EXPORTS = "exports.py"
NAMING = (KERNELS, "entries.py", EXPORTS)
"""The files that import what they use of the words and kernels, name by name."""
EXTRAS = "extras.py"
"""The file of packages that compute more than actions and scores: a value, or the parameters of a distribution."""

SAMPLING = "sampling.py"
"""The file of packages whose policies can draw their actions."""


def render(model: Model, encoded: EncodedModel, options: BuildOptions, name: str) -> dict[str, str]:
    """
    The sources of a predictor.

    Args:
        model: after all passes.
        encoded: its model file, which the sources read at the offsets given there.
        options: how to build.
        name: the package's name, an identifier.

    Returns:
        File name to text.

    Raises:
        UnsupportedError: if the model is not something that a predictor can be made of.
    """
    if model.policy is None:
        return _render_general(model, encoded, options, name)
    view = _view(model, encoded, options, name, options.lanes)
    package = [file for file in PACKAGE if file != THREADS or options.threads != 1]
    files = [*package, *([EXTRAS] if view.extra_results else []), *([SAMPLING] if view.sampling else [])]
    return {file: _file(file, view, _settings(view)) for file in files}


GENERAL = ("__init__.py", "predictor.py", "kernels.py", "entries.py", "simd.py", "lowering.py", "jit.py")
"""The files of a package whose model is no policy."""
ALIKE = ("simd.py", "lowering.py", "jit.py")
"""Those of them that all packages have."""
THREADS = "threads.py"
"""The file of packages whose batches are worth several threads."""


_GENERAL_SETTINGS: Mapping[str, Any] = {"native": False, "extension": False}


def _render_general(model: Model, encoded: EncodedModel, options: BuildOptions, name: str) -> dict[str, str]:
    """
    The sources of a predictor that is no policy's.
    """
    view = _general_view(model, encoded, options, name, options.lanes, divides=True)
    files = [*GENERAL, *([THREADS] if view.threaded else [])]
    return {file: _file(file, view, _GENERAL_SETTINGS) for file in files}


def _general_view(
    model: Model,
    encoded: EncodedModel,
    options: BuildOptions,
    name: str,
    lanes: int,
    *,
    in_blocks: bool = True,
    divides: bool,
) -> GeneralView:
    """
    Everything about a general predictor with registers of `lanes` values, the texts of its layers included.

    With `divides`, several threads compute one observation where that is worth it.
    """
    nodes = [node for node in model.nodes if not stays(model, node)]
    inputs, outputs, states = names_of(model)
    variables = {*inputs, *outputs, *states, *(f"next_{name}" for name in states)}
    names = kernel_names([node.name for node in nodes], _reserved_in_general() | variables)
    divides = divides and options.threads != 1 and most_parts(model) > 1
    texts = [
        _layer(model, node, function, lanes, divides and worth_dividing(model, node))
        for node, function in zip(nodes, names, strict=True)
    ]
    functions, layers = _shared_layers(nodes, names, [text for text, _ in texts])
    divided = frozenset(functions[node.outputs[0]] for node, (_, parted) in zip(nodes, texts, strict=True) if parted)
    blocks = plan_block(model) if in_blocks else None
    kernels: dict[str, str] = {}
    if blocks is not None:
        own = {node.outputs[0]: name + BLOCK for node, name in zip(nodes, names, strict=True)}
        of_blocks = [own[node.outputs[0]] for node in blocks.together]
        of_block = [
            _kernel(NEST, together_view(model, node, name, lanes, blocks.workspace.apart), lanes, in_lanes=False)
            for node, name in zip(blocks.together, of_blocks, strict=True)
        ]
        kernels, more = _shared_layers(blocks.together, of_blocks, of_block)
        layers += more
    digest = hashlib.sha256(encoded.data).hexdigest()
    view = general_view(
        model, encoded, digest, options, lanes, name, functions, blocks, kernels, divided if divided else None
    )
    view.layers.extend(layers)
    view.functions.extend(_functions("\n".join(layers)))
    return view


def _shared_layers(
    nodes: Sequence[Node], names: Sequence[str], kernels: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """
    The kernel's name for each node's first output, and the kernels' texts: nodes that compute alike share the first's.
    """
    functions: dict[str, str] = {}
    texts: dict[str, str] = {}
    sharing: dict[str, list[Node]] = {}
    for node, name, text in zip(nodes, names, kernels, strict=True):
        code = re.sub(rf"^def {name}", "def ", _without_prose(text), flags=re.MULTILINE)
        sharing.setdefault(code, []).append(node)
        first = sharing[code][0]
        functions[node.outputs[0]] = functions[first.outputs[0]] if first is not node else name
        texts.setdefault(code, text)
    for code, alike in sharing.items():
        if len(alike) > 1:
            title = f"`{comment(alike[0].name)}`"
            texts[code] = texts[code].replace(title, f"{title} and {len(alike) - 1} more", 1)
    return functions, list(texts.values())


def _layer(model: Model, node: Node, function: str, lanes: int, divided: bool = False) -> tuple[str, bool]:
    """
    The text of a node's kernel, and whether it computes a part, which it does if it is to be `divided` and can be.
    """
    layer = layer_view(model, node, function, lanes, divided)
    return _kernel(template_name(node), layer, lanes, model.policy is not None), layer.divided


def _kernel(template: str, layer: LayerView | KernelView, lanes: int, in_lanes: bool) -> str:
    """
    The text of a kernel; `in_lanes` says whether policies compute blocks by it, one observation in each lane.
    """
    return _environment().get_template(template).render(layer=layer, lanes=lanes, in_lanes=in_lanes).strip()


TRANSLATED = (KERNELS, EXPORTS, "simd.py", "lowering.py")
"""The files of a package that is only translated, for targets other than Numba's."""


def render_kernels(
    model: Model, encoded: EncodedModel, options: BuildOptions, name: str, lanes: int, blocks: bool
) -> tuple[PredictorView, dict[str, str]]:
    """
    The sources of the kernels for registers of `lanes` values, and what C must know of them.

    Args:
        model: a policy after all passes; packed for registers of `lanes` values, or of a multiple.
        encoded: its model file.
        options: how to build.
        name: the predictor's name.
        lanes: values in a register.
        blocks: whether a batch is computed in blocks; else one observation after the other, in less code.
    """
    view = _view(model, encoded, options, name, lanes)
    settings = {**_settings(view), "blocks": blocks}
    return view, {"__init__.py": "", **{file: _file(file, view, settings) for file in TRANSLATED}}


def render_general_kernels(
    model: Model,
    encoded: EncodedModel,
    options: BuildOptions,
    name: str,
    lanes: int,
    *,
    blocks: bool,
    divides: bool,
) -> tuple[GeneralView, dict[str, str]]:
    """
    The same of a model that is no policy; with `divides` one observation on several threads, if that is worth it.
    """
    view = _general_view(model, encoded, options, name, lanes, in_blocks=blocks, divides=divides)
    return view, {"__init__.py": "", **{file: _file(file, view, _GENERAL_SETTINGS) for file in TRANSLATED}}


FACE = ("__init__.py", "predictor.py", "inputs.py", "inspection.py")
"""What a package has that takes its kernels from a module `_native`."""
STUB = "_native.pyi"


def render_face(view: PredictorView, *, extension: bool = False) -> dict[str, str]:
    """
    The Python files of a package whose kernels are functions of its module `_native`.

    That has, for arrays that are contiguous, have one dimension and exactly the dtypes of the predictor:

        MODEL_SHA256: str, of the model file
        WEIGHTS: a buffer of the bytes that the kernels read
        act_one(*arrays) -> int: the action of a policy whose actions are Discrete and that has no state
        act_one(*arrays, actions[, next_hidden, next_cell]) -> int: a status, for all others
        predict_rows(rows, *arrays, actions, scores[, next_hidden, next_cell]) -> int: a status; scores may be empty
        fill_layers(*arrays, work) -> int: fills a workspace of `view.workspace` float32; 0
        fill_extras(rows, *arrays, extras) -> int: a status; where `view.extra_results` has something

    where `arrays` are those of `view.arrays`, and a status is 0, or below 0 why nothing is given: -1 the number or the
    dtype of values, -2 NaN or infinity in what is given, -3 in the network's output, -4 a choice that there is not.

    Args:
        view: the predictor; for any of several levels.
        extension: whether `_native` is the extension, which has `act` and `predict_into` as well. The package then
            imports nothing else before it must.

    Returns:
        File name to text.
    """
    files = [*FACE, *([EXTRAS] if view.extra_results else []), *([SAMPLING] if view.sampling else [])]
    settings = {**_settings(view), "native": True, "extension": extension}
    return {file: _render(file, view, settings) for file in (*files, *([STUB] if extension else []))}


GENERAL_FACE = ("__init__.py", "predictor.py")
"""The same of a model that is no policy."""


def render_general_face(view: GeneralView, *, extension: bool = False) -> dict[str, str]:
    """
    The Python files of a general package whose kernels are functions of its module `_native`.

    That has, for arrays that are contiguous, have one dimension and exactly the dtypes of the predictor:

        MODEL_SHA256: str, of the model file
        WEIGHTS: a buffer of the bytes that the kernels read; the extension has `use_weights` instead, which takes them
        predict_rows(rows, *taken, *left) -> int: fills the arrays of `view.left` from those of `view.taken`; a status,
            which is 0, or below 0 why nothing is given: -1 the number or the dtype of values, -2 NaN or infinity,
            -4 a whole number that is too large

    Args:
        view: the predictor; for any of several levels.
        extension: whether `_native` is the extension.

    Returns:
        File name to text.
    """
    settings = {"native": True, "extension": extension}
    threaded = [THREADS] if extension and view.threaded else []
    files = [*GENERAL_FACE, *threaded, *([STUB] if extension else [])]
    return {file: _render(file, view, settings) for file in files}


def render_c(template: str, view: NativeView | GeneralNativeView, **more: Any) -> str:
    """
    A file in C, or one that goes with it, from a template of `native/`, which may see more than the view.

    Models that are no policies may have a template of their own in `general/`.
    """
    folders = ["general", "native"] if isinstance(view, GeneralNativeView) else ["native"]
    text = _environment().select_template([f"{folder}/{template}.jinja" for folder in folders]).render(c=view, **more)
    return text.strip() + "\n"


def _settings(view: PredictorView) -> dict[str, Any]:
    return {"kind": "discrete" if view.discrete else "array", "native": False, "extension": False}


def _view(model: Model, encoded: EncodedModel, options: BuildOptions, name: str, lanes: int) -> PredictorView:
    """
    Everything about a predictor with registers of `lanes` values, the texts of its layers included.
    """
    interface = interface_of(model)
    nodes = [node for node in model.nodes if node.op not in ARRANGING]
    reserved = _reserved() | input_names(interface) | (_words(general=True) if is_spliced(model) else set())
    names = kernel_names([node.name for node in nodes], reserved)
    functions = {node.outputs[0]: name for node, name in zip(nodes, names, strict=True)}
    digest = hashlib.sha256(encoded.data).hexdigest()
    view = predictor_view(model, encoded, digest, options, lanes, name, functions)
    _add_layers(view, model, nodes, functions)
    return view


def _add_layers(view: PredictorView, model: Model, nodes: Sequence[Node], functions: Mapping[str, str]) -> None:
    """
    Writes the kernels, and the functions of vectors that they call.
    """
    view.layers.extend(_layer(model, node, functions[node.outputs[0]], view.lanes)[0] for node in nodes)
    view.functions.extend(_functions("\n".join(view.layers)))


def _file(file: str, view: PredictorView | GeneralView, settings: Mapping[str, Any]) -> str:
    text = _render(file, view, settings)
    if file not in NAMING:
        return text
    # The first text says what the second must import.
    own = re.sub(r"^from [.]\w+ import \([^)]*\)\n", "", text, flags=re.MULTILINE)
    used = _named(own)
    # Of the kernels, entry points call none of a layer, whose name may be one of their own variables'.
    kernels = set() if file == KERNELS else _defined(_file(KERNELS, view, settings)) - _defined("\n".join(view.layers))
    if isinstance(view, GeneralView):  # whose variables may have the name of a word that nothing calls
        used -= {array.name for array in (*view.taken, *view.left)} - _called(own)
    words = sorted(used & _words(isinstance(view, GeneralView) or view.spliced), key=import_order)
    known = sorted(used & kernels, key=import_order)
    return _render(file, replace(view, named=frozenset(used), words=words, kernels_named=known), settings)


def _render(file: str, view: PredictorView | GeneralView, settings: Mapping[str, Any]) -> str:
    folder = "native" if file in (EXPORTS, STUB) else "predictor"
    if isinstance(view, GeneralView) and file not in ALIKE:
        folder = "general"
        if file == "predictor.py":
            file = "episodes.py" if view.memory else "sequences.py" if view.length else file
    template = _environment().get_template(f"{folder}/{file}.jinja")
    return template.render(predictor=view, lanes=view.lanes, **settings).strip() + "\n"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        autoescape=False,  # what protects is that no text of a checkpoint gets here but through `naming`
    )
    environment.filters |= {"plus": plus, "times": times, "activated": activated}
    environment.globals |= {"steps": steps, "define": define, "importing": importing, "wrapped": wrapped}
    return environment


def _functions(kernels: str) -> list[str]:
    """
    The functions of vectors that kernels call, each after those that it calls itself.
    """
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in texts:
            text = _environment().get_template(f"functions/{name}.py.jinja").render().strip()
            for other in sorted(_called(text) & function_names() - {name}):
                add(other)
            texts[name] = text

    for name in sorted(_called(kernels) & function_names()):
        add(name)
    return list(texts.values())


def _called(text: str) -> set[str]:
    """
    The functions that a source calls.
    """
    return set(re.findall(r"\b([a-z]\w*)\(", _without_prose(text)))


def _defined(text: str) -> set[str]:
    """
    The functions and constants of a module.

    Not by `ast`: Python 3.11 makes a SystemError of two threads that use it at the same time.
    """
    symbols = symtable.symtable(text, "<generated>", "exec").get_symbols()
    return {symbol.get_name() for symbol in symbols if symbol.is_assigned() and not symbol.is_imported()}


def _named(text: str) -> set[str]:
    """
    The names in a source.
    """
    return set(re.findall(r"\b[A-Za-z]\w*\b", _without_prose(text)))


def _without_prose(text: str) -> str:
    return re.sub(r'"""[^"]*"""|#.*', "", text)


@cache
def _words(general: bool) -> set[str]:
    """
    What simd.py offers to kernels; to those of general models some words more.
    """
    files = [("predictor", "simd.py"), *([("general", "words.py"), ("general", "gate_words.py")] if general else [])]
    templates = resource("templates")
    text = "\n".join(templates.joinpath(folder, f"{file}.jinja").read_text("utf-8") for folder, file in files)
    return set(re.findall(r"^(?:def )?([A-Za-z]\w*)(?:\(| = |: TypeAlias)", text, re.MULTILINE))


@cache
def _reserved_in_general() -> set[str]:
    """
    Names that have a meaning where general kernels are.
    """
    templates = resource("templates").joinpath("general")
    texts = [templates.joinpath(f"{file}.jinja").read_text("utf-8") for file in (KERNELS, "meeting.py", "entries.py")]
    defined = re.findall(r'^(?:def |{{ define\(")?(\w+)', "\n".join(texts), re.MULTILINE)
    several = {f"{verb}{kind}" for verb in ("stage", "give") for kind in KINDS.values()}
    return _reserved() | _words(general=True) | {*defined, *several, *TAKEN}


@cache
def _reserved() -> set[str]:
    """
    Names that have a meaning in the generated module of kernels.
    """
    templates = resource("templates").joinpath("predictor")
    files = (templates / "kernels.py.jinja", templates / "entries.py.jinja", *templates.glob("act_*.jinja"))
    texts = [path.read_text("utf-8") for path in files]
    defined = re.findall(r"^def (\w+)", "\n".join(texts), re.MULTILINE)
    staging = {f"{verb}{kind}" for verb in ("finite", "stage", "transpose") for kind in KINDS.values()}
    variables = {"inputs", "weights", "work", "image", "lane"}  # where kernels are called
    return (
        _words(general=False) | function_names() | staging | {*defined, *variables, "np", "entry", "inline", "kernel"}
    )
