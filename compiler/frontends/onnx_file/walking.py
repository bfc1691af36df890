"""
What there is in an ONNX graph, graphs in its nodes included: the branches of conditions, the bodies of loops.

Protobuf reads nothing that is nested so deep that these functions, which call themselves, would come to an end.
"""

from collections.abc import Iterable, Iterator, Sequence

from onnx import GraphProto, NodeProto, TensorProto


def nodes_of(graph: GraphProto) -> Iterator[NodeProto]:
    """
    All nodes of a graph, and of the graphs in them.
    """
    for node in graph.node:
        yield node
        for inner in graphs_in(node):
            yield from nodes_of(inner)


def graphs_in(node: NodeProto) -> Iterator[GraphProto]:
    """
    The graphs that a node runs.
    """
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def tensors_of(graph: GraphProto) -> Iterator[TensorProto]:
    """
    All tensors that a graph holds, and those of the graphs in its nodes.
    """
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for inner in graphs_in(node):
            yield from tensors_of(inner)


def names_read(node: NodeProto) -> Iterator[str]:
    """
    The values that a node needs: its inputs, and what the graphs in it read.
    """
    yield from node.input
    for graph in graphs_in(node):
        for inner in graph.node:
            yield from names_read(inner)
        yield from (output.name for output in graph.output)


def needed(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """
    The nodes that an output depends on, in their order.
    """
    wanted = set(outputs)
    found = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(names_read(node))
    return found[::-1]
