"""
Kernels of general models, compiled without a predictor around them, on memory that shows what they touch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

from compiler import codegen
from compiler.codegen.kernels import layer_view
from compiler.codegen.winograd_kernels import room_words
from compiler.codegen.workspace import arguments_of, rooms_of
from compiler.ir import DType, Model
from compiler.options import BuildOptions
from tests.generated_code.cases import Array, Case, blob_of, harness_in, kernel_texts, model_of
from tests.models import PLAIN, policy, sources
from tests.thorough import THOROUGH

LINE = 16
"""float32 to whose multiples all tensors are aligned."""
POISON = np.uint32(0x7FC0DEAD).view(np.float32)
"""What memory holds before: a NaN that no kernel computes."""

TEXT = """
import numpy as np

from .jit import entry, inline, kernel
from .lowering import BUFFER, NUMBER
from .simd import *
{kernels}

@entry({types})
def run({parameters}):
    work, weights = address(memory), address(constants)
{calls}
    return 0
"""


class Nests:
    """
    The kernels of some cases, one module for all of them.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        model: Model,
        places: Mapping[str, int],
        rooms: Mapping[str, int],
        blob: Array,
        module: ModuleType,
    ):
        self.cases, self.model, self.places, self.blob, self.module = cases, model, places, blob, module
        sizes = [*(tensor.elements for tensor in model.tensors.values()), *rooms.values()]
        self.in_rooms: dict[str, Array] = {}
        """What the last run left in the rooms of kernels; NaN where it wrote nothing."""
        self.rooms, self.words = rooms, max(places.values()) + max(sizes) + 4 * LINE

    def run(self, inputs: Sequence[Sequence[Array]], *part: int) -> list[list[Array]]:
        """
        The results of every case for one sample: `inputs` has, for each case, the arrays of its computed inputs.

        Kernels that are divided take which part they compute, and of how many; what other parts compute is NaN.
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
        for name, count in self.rooms.items():
            mine[self.places[name] :][:count] = True
        before = memory.copy()
        assert self.module.run(memory, self.blob, *part) == 0
        assert np.array_equal(memory.view(np.int32)[~mine], before.view(np.int32)[~mine])
        self.in_rooms = {name: memory[self.places[name] :][:count] for name, count in self.rooms.items()}
        return [
            [memory[self.places[name] :][: self.model.tensors[name].elements] for name in node.outputs]
            for node in self.model.nodes
        ]


def compiled_of(cases: Sequence[Case], way: str) -> list[Case]:
    """
    Of the cases, those whose kernels are tested in this way: compiled, one of each op; all in plain Python.
    """
    if way == "plain" or THOROUGH:
        return list(cases)
    return list({case.op: case for case in cases}.values())


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
    return {**rendered, "jit.py": str(files["jit.py"])}


@contextmanager
def nests(
    cases: Sequence[Case], lanes: int, folder: Path, name: str, *, plain: bool = False, divided: bool = False
) -> Iterator[Nests]:
    """
    The kernels of the cases, in a module of this name; with `plain` not compiled, with `divided` for several threads.
    """
    model = model_of(cases)
    places, top = {}, LINE
    for tensor in model.tensors.values():
        if tensor.data is None:
            places[tensor.name] = top
            top += -(-tensor.elements // LINE) * LINE + LINE  # a line of NaN lies behind each
    rooms = {room: room_words(model, node) for node in model.nodes for room in rooms_of(model, node)}
    for room, count in rooms.items():
        places[room] = top
        top += -(-count // LINE) * LINE + LINE
    offsets, blob = blob_of(model, LINE)
    functions = {node.name: f"case_{number}" for number, node in enumerate(model.nodes)}
    calls = []
    for node in model.nodes:
        function, arguments = functions[node.name], _arguments(arguments_of(model, node), places, offsets)
        if layer_view(model, node, function, lanes, divided).divided:
            calls.append(f"    {function}(part, parts, {arguments})")
        else:
            calls.append(f"    {'if part == 0: ' if divided else ''}{function}({arguments})")
    files = {**words(lanes), **({"jit.py": PLAIN} if plain else {})}
    files["harness.py"] = TEXT.format(
        kernels=kernel_texts(model, functions, lanes, divided=divided),
        calls="\n".join(calls),
        types="BUFFER, BUFFER, NUMBER, NUMBER" if divided else "BUFFER, BUFFER",
        parameters="memory, constants, part, parts" if divided else "memory, constants",
    )
    with harness_in(folder, name, files) as module:
        yield Nests(cases, model, places, rooms, blob, module)


def _arguments(names: Sequence[str], places: Mapping[str, int], offsets: Mapping[str, int]) -> str:
    pointers = [
        f"advance(weights, {offsets[name]})" if name in offsets else f"advance(work, {places[name]})" for name in names
    ]
    return ", ".join(pointers)


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
