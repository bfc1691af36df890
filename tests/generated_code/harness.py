"""
Kernels of single ops, compiled without a predictor around them, and run on memory that shows what they touch.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from compiler import codegen
from compiler.codegen.kernels import layer_view, template_name
from compiler.ir import BATCH, Attribute, DType, Model, Origin, Output
from compiler.ops import OPS
from compiler.ops.builder import GraphBuilder
from compiler.options import BuildOptions
from tests.models import PLAIN, policy, sources

Array = np.ndarray[Any, Any]

TEXT = """
import numpy as np

from .jit import entry, inline, kernel
from .lowering import BUFFER
from .simd import *
{kernels}

@entry(BUFFER, BUFFER)
def one(memory, constants):
    work, weights = address(memory), address(constants)
{calls}
    return 0

@entry(BUFFER, BUFFER)
def block(memory, constants):
    work, weights = address(memory), address(constants)
{block_calls}
    return 0
"""


@dataclass(frozen=True, eq=False)
class Case:
    """
    One node: an op on tensors that each observation has its own of, (dtype, shape), and on constants.
    """

    op: str
    inputs: Sequence[tuple[DType, tuple[int, ...]] | Array]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """
    Where a tensor of a case stands: float32 words from the beginning of the memory, for one observation.
    """

    dtype: DType
    shape: tuple[int, ...]
    offset: int
    words: int


class Kernels:
    """
    The kernels of some cases, one module for all of them.
    """

    def __init__(self, cases: Sequence[Case], lanes: int, module: ModuleType, model: Model, places: list[list[Place]]):
        self.cases, self.lanes, self.module, self.model, self.places = cases, lanes, module, model, places
        self.constants = _blob(model)[0]
        self.words = max(place.offset + place.words for each in places for place in each)

    def one(self, inputs: Sequence[Sequence[Array]]) -> list[Array]:
        """
        The result of every case for one observation: `inputs` has, for each case, the arrays of its inputs.
        """
        memory = np.full(self.words, np.nan, np.float32)
        for places, arrays in zip(self.places, inputs, strict=True):
            for place, array in zip(places[:-1], arrays, strict=True):
                values(memory, place, 1)[: array.size] = array.reshape(-1)
        self._run(self.module.one, memory, 1)
        return [values(memory, each[-1], 1)[: int(np.prod(each[-1].shape))] for each in self.places]

    def block(self, inputs: Sequence[Sequence[Array]]) -> list[Array]:
        """
        The same for LANES observations: arrays and results are (lanes, ...).
        """
        memory = np.full(self.words * self.lanes, np.nan, np.float32)
        for places, arrays in zip(self.places, inputs, strict=True):
            for place, array in zip(places[:-1], arrays, strict=True):
                flat = array.reshape(self.lanes, -1).T.reshape(-1)
                values(memory, place, self.lanes)[: flat.size] = flat
        self._run(self.module.block, memory, self.lanes)
        counts = [int(np.prod(each[-1].shape)) for each in self.places]
        found = [
            values(memory, each[-1], self.lanes)[: n * self.lanes] for each, n in zip(self.places, counts, strict=True)
        ]
        return [part.reshape(n, self.lanes).T for part, n in zip(found, counts, strict=True)]

    def _run(self, function: Any, memory: Array, factor: int) -> None:
        """
        Runs all kernels, which may write where their results stand and nowhere else.
        """
        before = memory.copy()
        assert function(memory, self.constants) == 0
        mine = np.zeros(memory.size, bool)
        for each in self.places:
            mine[each[-1].offset * factor : (each[-1].offset + each[-1].words) * factor] = True
        assert np.array_equal(memory.view(np.int32)[~mine], before.view(np.int32)[~mine])


def values(memory: Array, place: Place, factor: int) -> Array:
    """
    The memory of a tensor as the numbers that it holds.
    """
    dtype = np.float64 if place.dtype is DType.FLOAT64 else np.float32
    result: Array = memory[place.offset * factor : (place.offset + place.words) * factor].view(dtype)
    return result


def model_of(cases: Sequence[Case]) -> Model:
    """
    A model with one node for each case, named by its number.
    """
    graph = GraphBuilder()
    inputs, results = [], []
    for number, case in enumerate(cases):
        names = []
        for position, given in enumerate(case.inputs):
            name = f"{number}.{position}"
            if isinstance(given, np.ndarray):
                names.append(graph.constant(name, given))
            else:
                names.append(graph.input(name, given[0], (BATCH, *given[1])))
                inputs.append(name)
        results.append(graph.add(case.op, names, f"case_{number}", **case.attributes))
    return Model(
        name="cases",
        nodes=tuple(graph.nodes),
        tensors=graph.tensors,
        inputs=tuple(inputs),
        outputs=tuple(Output(result, result) for result in results),
        origin=Origin("cases", "0" * 64, "test"),
    )


@contextmanager
def kernels(cases: Sequence[Case], lanes: int, folder: Path, name: str, *, plain: bool = False) -> Iterator[Kernels]:
    """
    The kernels of the cases, in a module of this name; with `plain` not compiled.
    """
    model = model_of(cases)
    names = {node.outputs[0]: f"case_{number}" for number, node in enumerate(model.nodes)}
    places, calls, block_calls = [], [], []
    offsets, top, register = _blob(model)[1], 0, max(lanes, 2)
    for node in model.nodes:
        each, one, several = [], [], []
        for tensor in (model.tensors[name] for name in (*node.inputs, *node.outputs)):
            if tensor.data is not None:
                one.append(f"advance(weights, {offsets[tensor.name]})")
                several.append(one[-1])
                continue
            words = -(-tensor.elements * (2 if tensor.dtype is DType.FLOAT64 else 1) // register) * register
            each.append(Place(tensor.dtype, tensor.fixed_shape, top, words))
            one.append(f"advance(work, {top})")
            several.append(f"advance(work, {top} * LANES)")
            top += words
        places.append(each)
        calls.append(f"    {names[node.outputs[0]]}({', '.join(one)})")
        block_calls.append(f"    {names[node.outputs[0]]}_block({', '.join(several)})")
    package = folder / name
    package.mkdir(parents=True)
    files = sources(policy(), BuildOptions(lanes=lanes))
    for file in ("simd.py", "lowering.py", "jit.py"):
        (package / file).write_text(PLAIN if plain and file == "jit.py" else str(files[file]))
    (package / "__init__.py").write_text("")
    text = _text(model, names, lanes)
    code = TEXT.format(kernels=text, calls="\n".join(calls), block_calls="\n".join(block_calls))
    (package / "harness.py").write_text(code)
    sys.path.insert(0, str(folder))
    try:
        yield Kernels(cases, lanes, importlib.import_module(f"{name}.harness"), model, places)
    finally:
        sys.path.remove(str(folder))
        for key in [key for key in sys.modules if key.split(".")[0] == name]:
            del sys.modules[key]


def _text(model: Model, names: Mapping[str, str], lanes: int) -> str:
    """
    The kernels, after the functions that they call.
    """
    environment = codegen._environment()
    texts = []
    for node in model.nodes:
        layer = layer_view(model, node, names[node.outputs[0]], lanes)
        texts.append(environment.get_template(template_name(node)).render(layer=layer, lanes=lanes).strip())
    return "\n\n\n".join([*codegen._functions("\n".join(texts)), *texts])


def right(case: Case, inputs: Sequence[Array]) -> Array:
    """
    What the reference computes of a batch.
    """
    given = iter(inputs)
    arrays = [part if isinstance(part, np.ndarray) else next(given) for part in case.inputs]
    wide = [array.astype(np.float64) if array.dtype.kind == "f" else array for array in arrays]
    with np.errstate(all="ignore"):
        row = OPS[case.op]
        return row.reference(*wide, **row.complete(case.attributes))


def _blob(model: Model) -> tuple[Array, dict[str, int]]:
    """
    All constants, each at a whole cache line with NaN behind it, and where they begin.
    """
    offsets, parts, top = {}, [], 0
    for tensor in model.constants():
        assert tensor.data is not None
        words = np.ascontiguousarray(tensor.data).reshape(-1).view(np.float32)
        room = -(-words.size // 16) * 16
        offsets[tensor.name] = top
        parts.append(np.pad(words, (0, room - words.size), constant_values=np.nan))
        top += room
    return np.concatenate([*parts, np.full(16, np.nan, np.float32)]), offsets
