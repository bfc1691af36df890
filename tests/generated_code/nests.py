"""
Kernels of general models, compiled without a predictor around them, on memory that shows what they touch.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from compiler import codegen
from compiler.codegen.kernels import layer_view, template_name
from compiler.ir import BATCH, Attribute, DType, Model, Node, Origin, Output
from compiler.ops import OPS
from compiler.ops.builder import GraphBuilder
from compiler.options import BuildOptions
from tests.models import PLAIN, policy, sources

Array = np.ndarray[Any, Any]
LINE = 16
"""float32 to whose multiples all tensors are aligned."""
POISON = np.float32(np.nan)

TEXT = """
import numpy as np

from .jit import entry, inline, kernel
from .lowering import BUFFER
from .simd import *
{kernels}

@entry(BUFFER, BUFFER)
def run(memory, constants):
    work, weights = address(memory), address(constants)
{calls}
    return 0
"""


@dataclass(frozen=True, eq=False)
class Case:
    """
    One node: an op on computed tensors, given as (dtype, dims), and on constants.
    """

    op: str
    inputs: Sequence[tuple[DType, tuple[int, ...]] | Array]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    low: float = -np.inf
    """The least value of random inputs, and the greatest."""
    high: float = np.inf
    exact: bool = False
    """Whether the result must be that of the reference, rounded."""

    def __repr__(self) -> str:
        shapes = [part.shape if isinstance(part, np.ndarray) else part[1] for part in self.inputs]
        return f"{self.op} of {shapes} {dict(self.attributes)}"


class Nests:
    """
    The kernels of some cases, one module for all of them.
    """

    def __init__(self, cases: Sequence[Case], model: Model, places: Mapping[str, int], blob: Array, module: ModuleType):
        self.cases, self.model, self.places, self.blob, self.module = cases, model, places, blob, module
        self.words = max(places.values()) + max(tensor.elements for tensor in model.tensors.values()) + 4 * LINE

    def run(self, inputs: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """
        The results of every case for one sample: `inputs` has, for each case, the arrays of its computed inputs.
        """
        memory = np.full(self.words, POISON, np.float32)
        mine = np.zeros(memory.size, bool)
        for node, arrays in zip(self.model.nodes, inputs, strict=True):
            names = [name for name in node.inputs if self.model.tensors[name].data is None]
            for name, array in zip(names, arrays, strict=True):
                memory[self.places[name] :][: array.size] = array.reshape(-1)
        for node in self.model.nodes:
            for name in node.outputs:
                mine[self.places[name] :][: self.model.tensors[name].elements] = True
        before = memory.copy()
        assert self.module.run(memory, self.blob) == 0
        assert np.array_equal(memory.view(np.int32)[~mine], before.view(np.int32)[~mine])
        return [
            [memory[self.places[name] :][: self.model.tensors[name].elements] for name in node.outputs]
            for node in self.model.nodes
        ]


def model_of(cases: Sequence[Case]) -> Model:
    """
    A model with one node for each case, named by its number.
    """
    graph = GraphBuilder()
    inputs: list[str] = []
    results: list[str] = []
    for number, case in enumerate(cases):
        names = []
        for position, given in enumerate(case.inputs):
            name = f"{number}.{position}"
            if isinstance(given, np.ndarray):
                names.append(graph.constant(name, given))
            else:
                names.append(graph.input(name, given[0], (BATCH, *given[1])))
                inputs.append(name)
        results += graph.add_all(case.op, names, f"case_{number}", **case.attributes)
    return Model(
        name="cases",
        nodes=tuple(graph.nodes),
        tensors=graph.tensors,
        inputs=tuple(inputs),
        outputs=tuple(Output(result, result) for result in results),
        origin=Origin("cases", "0" * 64, "test"),
    )


def words(lanes: int) -> dict[str, str]:
    """
    The files of the words that kernels of general models are written with.
    """
    files = sources(policy(), BuildOptions(lanes=lanes))
    view = SimpleNamespace(batched=True)
    rendered = {
        name: codegen._environment().get_template(f"predictor/{name}.jinja").render(predictor=view, lanes=lanes)
        for name in ("simd.py", "lowering.py")
    }
    return {**rendered, "jit.py": str(files["jit.py"]), "__init__.py": ""}


@contextmanager
def nests(cases: Sequence[Case], lanes: int, folder: Path, name: str, *, plain: bool = False) -> Iterator[Nests]:
    """
    The kernels of the cases, in a module of this name; with `plain` not compiled.
    """
    model = model_of(cases)
    places, top = {}, LINE
    for tensor in model.tensors.values():
        if tensor.data is None:
            places[tensor.name] = top
            top += -(-tensor.elements // LINE) * LINE + LINE  # a line of NaN lies behind each
    offsets, blob = _blob(model)
    functions = {node.name: f"case_{number}" for number, node in enumerate(model.nodes)}
    calls = [f"    {functions[node.name]}({_arguments(node, places, offsets)})" for node in model.nodes]
    package = folder / name
    package.mkdir(parents=True)
    for file, text in words(lanes).items():
        (package / file).write_text(PLAIN if plain and file == "jit.py" else text)
    code = TEXT.format(kernels=_text(model, functions, lanes), calls="\n".join(calls))
    (package / "harness.py").write_text(code)
    sys.path.insert(0, str(folder))
    try:
        yield Nests(cases, model, places, blob, importlib.import_module(f"{name}.harness"))
    finally:
        sys.path.remove(str(folder))
        for key in [key for key in sys.modules if key.split(".")[0] == name]:
            del sys.modules[key]


def _arguments(node: Node, places: Mapping[str, int], offsets: Mapping[str, int]) -> str:
    pointers = [
        f"advance(weights, {offsets[name]})" if name in offsets else f"advance(work, {places[name]})"
        for name in (*node.inputs, *node.outputs)
    ]
    return ", ".join(pointers)


def _text(model: Model, names: Mapping[str, str], lanes: int) -> str:
    """
    The kernels, after the functions that they call.
    """
    environment = codegen._environment()
    texts = []
    for node in model.nodes:
        layer = layer_view(model, node, names[node.name], lanes)
        texts.append(environment.get_template(template_name(node)).render(layer=layer, lanes=lanes).strip())
    assert not [line for text in texts for line in text.splitlines() if len(line) > 120]
    return "\n\n\n".join([*codegen._functions("\n".join(texts)), *texts])


def random_inputs(case: Case, rng: np.random.Generator, batch: int) -> list[Array]:
    """
    Values for the computed inputs of a case, several samples of them.
    """
    found: list[Array] = []
    for given in case.inputs:
        if isinstance(given, np.ndarray):
            continue
        dtype, dims = given
        if dtype is DType.BOOL:
            found.append(rng.integers(0, 2, (batch, *dims)).astype(bool))
        elif dtype is DType.INT64:
            low, high = (int(np.clip(side, -9, 9)) for side in (case.low, case.high))
            found.append(rng.integers(low, high + 1, (batch, *dims)))
        else:
            drawn = rng.normal(size=(batch, *dims)) * 2
            found.append(np.clip(drawn, case.low, case.high).astype(np.float32))
    return found


def right(case: Case, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """
    What the reference computes of several samples.
    """
    given = iter(inputs)
    arrays = [part if isinstance(part, np.ndarray) else next(given) for part in case.inputs]
    wide = [array.astype(np.float64) if array.dtype.kind == "f" else array for array in arrays]
    with np.errstate(all="ignore"):
        row = OPS[case.op]
        return row.evaluate(wide, row.complete(case.attributes))


def _blob(model: Model) -> tuple[dict[str, int], Array]:
    """
    Where all constants begin, each at a whole cache line with NaN behind it, and the constants.
    """
    offsets, parts, top = {}, [], 0
    for tensor in model.constants():
        assert tensor.data is not None
        content = np.ascontiguousarray(tensor.data).tobytes()
        content += b"\xff" * (-len(content) % (4 * LINE) + 4 * LINE)
        offsets[tensor.name] = top
        parts.append(np.frombuffer(content, np.float32))
        top += parts[-1].size
    return offsets, np.concatenate([*parts, np.full(LINE, POISON, np.float32)])
