"""
One observation on several threads: which models and which layers are divided, and where the threads meet.

All threads run the whole network. Of a layer that is divided each computes a part, of any other the first thread
everything; what one of them has computed others may read once all have met.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from compiler.codegen.source import call
from compiler.ir import Model, Node
from compiler.ops import OPS

PART_WORK = 2_000_000
"""Multiply-adds of an observation that are worth one more thread: it takes 20 microseconds to wake."""
LAYER_WORK = 100_000
"""Multiply-adds of a layer from which on it is divided: fewer are done before another thread knows of them."""
LAYER_VALUES = 16_384
"""float32 that a layer reads and writes from which on it is divided if it hardly multiplies."""


def multiply_adds(model: Model, node: Node) -> int:
    """
    Those of a node.
    """
    return OPS[node.op].multiply_adds([model.tensors[name] for name in node.inputs], node.attributes)


def most_parts(model: Model) -> int:
    """
    How many threads are worth waking for one observation.
    """
    return max(1, sum(multiply_adds(model, node) for node in model.nodes) // PART_WORK)


def worth_dividing(model: Model, node: Node) -> bool:
    """
    Whether a layer has enough to do for several threads.
    """
    tensors = [model.tensors[name] for name in (*node.inputs, *node.outputs)]
    values = sum(tensor.elements for tensor in tensors if tensor.data is None)
    return multiply_adds(model, node) >= LAYER_WORK or values >= LAYER_VALUES


@dataclass(frozen=True)
class Step:
    """
    The call of a layer's kernel.
    """

    function: str
    arguments: list[str]
    divided: bool = False


def statements(steps: Iterable[Step], first: int = 0) -> tuple[list[str], int]:
    """
    The statements that compute a network; where it is divided, with meetings, each before what needs what comes before.

    Args:
        steps: in order.
        first: the number of the first meeting, before the first step; 0 if nothing is divided.

    Returns:
        The statements, and the number of the meeting after the last of them.
    """
    if not first:
        return [call(step.function, step.arguments) for step in steps], 0
    lines: list[str] = []
    number = first
    for divided, group in groupby(steps, lambda step: step.divided):
        for step in group if divided else ():
            lines += [_meet(number), call(step.function, ["part", "parts", *step.arguments])]
            number += 1
        if not divided:
            lines += [_meet(number), "if part == 0:"]
            lines += [f"    {call(step.function, step.arguments, 8)}" for step in group]
            number += 1
    return lines, number


def _meet(number: int) -> str:
    return f"meet(gate, parts, {number})"
