"""
Where each value of the graph stands while a predictor computes.
"""

from dataclasses import dataclass

from compiler.ir import DType, Model

WORDS = {DType.FLOAT32: 1, DType.FLOAT64: 2, DType.INT64: 1}
"""float32 words that one element takes. Indices are kept as float32, which is exact up to 2 ** 24."""


@dataclass(frozen=True)
class Slot:
    """
    A place in the workspace, in float32 words for one observation; for a block of observations, times LANES.
    """

    offset: int
    words: int


@dataclass(frozen=True)
class MemoryPlan:
    """
    A slot for every value, none shared: what a layer computed stays until the next observation.
    """

    slots: dict[str, Slot]
    words: int
    """The size of the workspace for one observation."""


def plan_memory(model: Model, lanes: int) -> MemoryPlan:
    """
    Slots for the inputs and all results, each beginning on a whole register and padded to whole registers.
    """
    slots: dict[str, Slot] = {}
    top = 0
    whole = max(lanes, WORDS[DType.FLOAT64])  # a register, and nowhere half a float64

    def reserve(name: str, least: int) -> None:
        nonlocal top
        tensor = model.tensors[name]
        words = max(tensor.elements, least) * WORDS[tensor.dtype]
        slots[name] = Slot(top, -(-words // whole) * whole)
        top += slots[name].words

    for name in model.inputs:
        reserve(name, 1)
    for node in model.nodes:
        if node.op == "flatten":
            slots[node.outputs[0]] = slots[node.inputs[0]]
            continue
        # A dense layer writes all outputs that its weights are padded to, and so has its bias.
        padded = model.tensors[node.inputs[2]].elements if node.op == "dense" else 1
        reserve(node.outputs[0], padded)
    return MemoryPlan(slots, top)
