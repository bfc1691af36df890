"""
Single nodes to test kernels with: their model, their texts, and the module that they are compiled in.
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

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Case:
    """
    One node: an op on tensors that each observation has its own of, (dtype, dims), and on constants.
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


def kernel_texts(model: Model, names: Mapping[str, str], lanes: int, *, divided: bool = False) -> str:
    """
    The kernels of all nodes, by the names for these nodes, after the functions that they call.

    With `divided` kernels that can compute a part of their results do so.
    """
    environment = codegen._environment()
    texts = []
    for node in model.nodes:
        layer = layer_view(model, node, names[node.name], lanes, divided)
        texts.append(environment.get_template(template_name(node)).render(layer=layer, lanes=lanes).strip())
    assert not [line for text in texts for line in text.splitlines() if len(line) > 120]
    return "\n\n\n".join([*codegen._functions("\n".join(texts)), *texts])


@contextmanager
def harness_in(folder: Path, name: str, files: Mapping[str, str]) -> Iterator[ModuleType]:
    """
    The module `harness` of a package of these files, which is forgotten afterwards.
    """
    package = folder / name
    package.mkdir(parents=True)
    for file, text in {"__init__.py": "", **files}.items():
        (package / file).write_text(text)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(f"{name}.harness")
    finally:
        sys.path.remove(str(folder))
        for key in [key for key in sys.modules if key.split(".")[0] == name]:
            del sys.modules[key]


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


def blob_of(model: Model, line: int = 16) -> tuple[dict[str, int], Array]:
    """
    Where all constants begin, each at a whole cache line of float32 with NaN behind it, and the constants.
    """
    offsets, parts, top = {}, [], 0
    for tensor in model.constants():
        assert tensor.data is not None
        content = np.ascontiguousarray(tensor.data).tobytes()
        content += b"\xff" * (-len(content) % (4 * line) + 4 * line)
        offsets[tensor.name] = top
        parts.append(np.frombuffer(content, np.float32))
        top += parts[-1].size
    return offsets, np.concatenate([*parts, np.full(line, np.nan, np.float32)])
