"""
Computes what the gates of an LSTM get of its input for all steps at once, before the steps.
"""

from dataclasses import replace

import numpy as np

from compiler.ir import Model, Node, Tensor
from compiler.ops import OPS
from compiler.ops.sequence import pack_recurrence, unpack_recurrence
from compiler.options import BuildOptions
from compiler.passes.constants import Constants


def project_sequences(model: Model, options: BuildOptions) -> Model:
    """
    Turns `lstm` into a `linear_over` of all steps and `lstm_steps`.

    The weight of that is packed for registers of `options.lanes` values; one that is packed for others is packed anew.
    """
    if all(node.op not in ("lstm", "lstm_steps") for node in model.nodes):
        return model
    constants = Constants(model)
    nodes: list[Node] = []
    for node in model.nodes:
        if node.op == "lstm" and all(model.tensors[name].data is not None for name in node.inputs[3:]):
            nodes += _split(constants, node, options.lanes)
        elif node.op == "lstm_steps":
            nodes.append(_repack(constants, node, options.lanes))
        else:
            nodes.append(node)
    return constants.result(nodes)


def _split(constants: Constants, node: Node, lanes: int) -> list[Node]:
    source, hidden, cell, weight, recurrent, bias = node.inputs
    gates = constants.unused(f"{node.outputs[0]}:gates")
    inputs = (source, weight, bias)
    (kind,) = OPS["linear_over"].infer([constants.tensors[name] for name in inputs], {})
    constants.tensors[gates] = Tensor(gates, kind.dtype, kind.shape)
    data = constants.tensors[recurrent].data
    assert data is not None
    (packed,) = constants.replace([recurrent], [pack_recurrence(data, lanes)], "packed")
    steps = replace(node, op="lstm_steps", inputs=(gates, hidden, cell, packed))
    return [Node("linear_over", f"{node.name}:input", inputs, (gates,)), steps]


def _repack(constants: Constants, node: Node, lanes: int) -> Node:
    data = constants.tensors[node.inputs[3]].data
    if data is None or data.shape[-1] == lanes:
        return node
    packed = pack_recurrence(unpack_recurrence(np.asarray(data)), lanes)
    return replace(node, inputs=(*node.inputs[:3], *constants.replace(node.inputs[3:], [packed], "packed")))
