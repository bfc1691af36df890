"""
Where each value of the graph stands while a predictor computes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from compiler.errors import UnsupportedError
from compiler.ir import DType, Model, Node
from compiler.ops import OPS

WORDS = {DType.BOOL: 1, DType.FLOAT32: 1, DType.FLOAT64: 2, DType.INT64: 1, DType.UINT8: 1}
"""float32 words that one element takes. Masks are kept as 0 and 1, indices as float32, exact up to 2 ** 24."""


ARRANGING = ("flatten", "reshape")
"""Ops that have no kernel: their result stands where their input stands."""
MOST_WORDS = 1 << 28
"""float32 of workspace, 1 GiB, beyond which a model is refused: a file of a few bytes can ask for any padding."""


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

    A block has a workspace of its own, in which values of images, computed observation by observation, have no place.
    """

    slots: dict[str, Slot]
    words: int
    """The size of the workspace for one observation."""
    block_slots: dict[str, Slot]
    block_words: int
    """The size of the workspace for a block, times LANES."""
    images: frozenset[str]
    """What is computed observation by observation: the values that images are made into, and that come from them."""


def plan_memory(model: Model, lanes: int, widest: int) -> MemoryPlan:
    """
    Slots for inputs, states and all results, each beginning on a whole register and padded to whole registers.

    Args:
        model: after all passes.
        lanes: float32 in a register of the processor, so many observations in a block.
        widest: the same of the widest registers among those that kernels of this model are made for, a multiple. The
            slots are for these, so that a value has the same place on every processor.

    Raises:
        UnsupportedError: the values on the way take more memory than any policy needs.
    """
    plan = _plan(model, widest)
    room = plan.words + plan.block_words * lanes
    if room > MOST_WORDS:
        found = f"a predictor of it needs {room:,} float32 of workspace; at most {MOST_WORDS:,} are given"
        raise UnsupportedError(model.origin.file, found)
    return plan


def _plan(model: Model, lanes: int) -> MemoryPlan:
    images = _images(model)
    given = [*model.inputs, *(state.input for state in model.states)]
    slots, words = _place(model, lanes, {*given, *(name for node in model.nodes for name in node.outputs)})
    if not images:
        return MemoryPlan(slots, words, slots, words, images)
    results = {output.tensor for output in model.outputs if model.tensors[output.tensor].data is None}
    in_blocks = results - images
    for node in model.nodes:
        if node.outputs[0] not in images:
            leaves_images = node.op in ARRANGING and node.inputs[0] in images
            in_blocks.update(node.outputs, () if leaves_images else node.inputs)
    block_slots, block_words = _place(model, lanes, in_blocks)
    return MemoryPlan(slots, words, block_slots, block_words, images)


def _place(model: Model, lanes: int, names: Iterable[str]) -> tuple[dict[str, Slot], int]:
    wanted = set(names)
    slots: dict[str, Slot] = {}
    top = 0
    whole = max(lanes, WORDS[DType.FLOAT64])  # a register, and nowhere half a float64

    def reserve(name: str, least: int) -> None:
        nonlocal top
        tensor = model.tensors[name]
        words = max(tensor.elements, least) * WORDS[tensor.dtype]
        slots[name] = Slot(top, -(-words // whole) * whole)
        top += slots[name].words

    for name in (*model.inputs, *(state.input for state in model.states)):
        if name in wanted:
            reserve(name, 1)
    for node in model.nodes:
        for result in node.outputs:
            if result not in wanted:
                continue
            if node.op in ARRANGING and node.inputs[0] in slots:
                slots[result] = slots[node.inputs[0]]
            else:
                reserve(result, written(model, node, result))
    return slots, top


def written(model: Model, node: Node, result: str) -> int:
    """
    How far a kernel writes: a layer gives all outputs that its weights, and so its bias, are padded to.
    """
    count = model.tensors[result].elements
    if node.op == "dense":
        return model.tensors[node.inputs[2]].elements
    if node.op == "convolution":  # the padding of each pixel but the last lies where the next pixel will be written
        return count - model.tensors[node.outputs[0]].fixed_shape[-1] + model.tensors[node.inputs[2]].elements
    return count


def _images(model: Model) -> frozenset[str]:
    """
    The results that are computed observation by observation.

    Those of kernels for images, what these need, and what they feed as long as it is an image.
    """
    found: set[str] = set()
    for node in reversed(model.nodes):
        if OPS[node.op].single or not found.isdisjoint(node.outputs):
            found.update(node.outputs)
            found.update(name for name in node.inputs if model.tensors[name].data is None)
    for node in model.nodes:
        if len(model.tensors[node.outputs[0]].shape) > 2 and not found.isdisjoint(node.inputs):
            found.update(node.outputs)
    given = {*model.inputs, *(state.input for state in model.states)}
    return frozenset(found - given)
