"""
Kernels of single ops, compiled without a predictor around them, and run on memory that shows what they touch.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from compiler.ir import DType, Model
from compiler.options import BuildOptions
from tests.generated_code.cases import Array, Case, blob_of, harness_in, kernel_texts, model_of
from tests.models import PLAIN, policy, sources

WORDS = ("simd.py", "lowering.py", "jit.py")
"""The files that kernels need of a package."""

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
        self.constants = blob_of(model)[1]
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


@contextmanager
def kernels(cases: Sequence[Case], lanes: int, folder: Path, name: str, *, plain: bool = False) -> Iterator[Kernels]:
    """
    The kernels of the cases, in a module of this name; with `plain` not compiled.
    """
    model = model_of(cases)
    names = {node.name: f"case_{number}" for number, node in enumerate(model.nodes)}
    places, calls, block_calls = [], [], []
    offsets, top, register = blob_of(model)[0], 0, max(lanes, 2)
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
        calls.append(f"    {names[node.name]}({', '.join(one)})")
        block_calls.append(f"    {names[node.name]}_block({', '.join(several)})")
    files = {file: str(text) for file, text in sources(policy(), BuildOptions(lanes=lanes)).items() if file in WORDS}
    if plain:
        files["jit.py"] = PLAIN
    text = kernel_texts(model, names, lanes)
    files["harness.py"] = TEXT.format(kernels=text, calls="\n".join(calls), block_calls="\n".join(block_calls))
    with harness_in(folder, name, files) as module:
        yield Kernels(cases, lanes, module, model, places)
