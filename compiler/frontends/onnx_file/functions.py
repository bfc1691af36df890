"""
Functions that an ONNX file defines for itself: their calls are replaced by what they are made of.
"""

import onnx.inliner
from onnx import FunctionProto, ModelProto, NodeProto

from compiler.errors import CheckpointError, UnsupportedError, quote
from compiler.frontends.onnx_file.walking import graphs_in, nodes_of

MOST_NODES = 1 << 17
DEEPEST = 50
"""Calls within calls."""

Name = tuple[str, str, str]


def inlined(model: ModelProto, where: str) -> ModelProto:
    """
    The model without functions, as far as onnx can put them in the place of their calls.

    Raises:
        CheckpointError: a function calls itself, or onnx can't follow it.
        UnsupportedError: there would be too many nodes: a few functions that call each other can make any number.
    """
    functions = {(each.domain, each.name, each.overload): each for each in model.functions}
    counts: dict[Name, int] = {}
    total = sum(_count(node, functions, counts, (), where) for node in nodes_of(model.graph))
    if total > MOST_NODES:
        raise UnsupportedError(where, f"has more than {MOST_NODES:,} nodes when its functions are in their places")
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # whatever onnx raises on functions that contradict themselves
        raise CheckpointError(where, f"has functions that onnx can't read: {quote(str(error), 300)}") from None


def _count(
    node: NodeProto, functions: dict[Name, FunctionProto], counts: dict[Name, int], above: tuple[Name, ...], where: str
) -> int:
    """
    How many nodes stand in the place of a node.
    """
    name = (node.domain, node.op_type, node.overload)
    if name not in functions:
        return 1
    if name in above or len(above) >= DEEPEST:
        raise CheckpointError(where, f"has the function {quote(name[1])}, which calls itself or is called too deep")
    if name not in counts:
        every = [*functions[name].node]
        every += [inner for outer in functions[name].node for graph in graphs_in(outer) for inner in nodes_of(graph)]
        counts[name] = sum(_count(each, functions, counts, (*above, name), where) for each in every)
    return counts[name]
