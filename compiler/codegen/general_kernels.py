"""
The kernels of general models: who writes the body of which op's.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from compiler.codegen import arranging_kernels as arranging
from compiler.codegen import norm_kernels as norms
from compiler.codegen import pool_kernels as pools
from compiler.codegen.attention_kernels import write_attention
from compiler.codegen.body import Body, KernelView, Operand, passes
from compiler.codegen.conv_kernels import write_conv, write_conv_transposed
from compiler.codegen.dense_over_kernels import write_dense_over, write_dense_together
from compiler.codegen.element_kernels import BINARY, UNARY, cast_expression, write_binary, write_elements
from compiler.codegen.lstm_kernels import write_lstm_steps, write_lstm_steps_together
from compiler.codegen.naming import comment
from compiler.codegen.pool2d_kernels import write_pool2d
from compiler.codegen.product_kernels import write_matmul
from compiler.codegen.reduction_kernels import FOLDS, write_place_of_extreme, write_reduction, write_running_sum
from compiler.codegen.sequence_kernels import write_sequence
from compiler.codegen.sorting_kernels import write_top
from compiler.codegen.winograd_kernels import plan_of, rooms_in, write_winograd
from compiler.codegen.workspace import rooms_of
from compiler.errors import BuildError, quote
from compiler.ir import Model, Node
from compiler.ops.blocks import BLOCK
from compiler.ops.lengths import follows

Operands = Sequence[Operand]
Writer = Callable[[Body, Node, Operands, Operands], None]


def general_kernel(
    model: Model, node: Node, function: str, lanes: int, activation: str = "", divided: bool = False
) -> KernelView:
    """
    The view of a node's kernel.

    Args:
        model: after all passes.
        node: of a general op, or of an activation.
        function: the kernel's name.
        lanes: values in a register.
        activation: the call on `x` of the function of an activation, which the node is or which follows it.
        divided: whether it is to be divided among threads, if it can.

    Raises:
        BuildError: if the node is of an op that has no kernel yet.
    """
    names = INPUTS.get(node.op, ("source", "other", "third"))
    if len(names) < len(node.inputs):
        names = tuple(f"source{number}" for number in range(len(node.inputs)))
    inputs = [Operand.of(name, model.tensors[key]) for name, key in zip(names, node.inputs, strict=False)]
    targets = ("target", "last")[: len(node.outputs)]
    results = [Operand.of(name, model.tensors[key]) for name, key in zip(targets, node.outputs, strict=True)]
    body = Body(lanes, divided)
    _write(model, node, activation)(body, node, inputs, results)
    if divided and not body.parted:
        return general_kernel(model, node, function, lanes, activation)
    shapes = " to ".join("x".join(map(passes, operand.dims)) or "1" for operand in (inputs[0], results[0]))
    title = f"`{comment(node.name)}`: {node.op}, {shapes}"
    parameters = (*(operand.name for operand in (*inputs, *results)), *(["room"] * len(rooms_of(model, node))))
    return KernelView(function, title, parameters, body.text, takes_length(model, node), divided)


def together_kernel(
    model: Model, node: Node, function: str, lanes: int, activation: str, apart: Mapping[str, int]
) -> KernelView:
    """
    The view of a node's kernel for a block of observations.

    Args:
        model: after all passes.
        node: one of those that `compiler.ops.blocks.together` names.
        function: the kernel's name.
        lanes: values in a register.
        activation: the call on `x` of the function of an activation that follows it, or nothing.
        apart: elements of each tensor from one observation to the next.
    """
    names = INPUTS[node.op]
    inputs = [
        Operand.of(name, model.tensors[key], apart.get(key, 0)) for name, key in zip(names, node.inputs, strict=False)
    ]
    results = [
        Operand.of(name, model.tensors[key], apart[key])
        for name, key in zip(("target", "last"), node.outputs, strict=False)
    ]
    body = Body(lanes)
    if node.op == "lstm_steps":
        write_lstm_steps_together(body, node, inputs, results)
    else:
        write_dense_together(body, inputs, results[0], activation)
    title = f"`{comment(node.name)}`: {node.op} of {BLOCK} observations"
    parameters = tuple(operand.name for operand in (*inputs, *results))
    return KernelView(function, title, parameters, body.text, takes_length(model, node))


def takes_length(model: Model, node: Node) -> bool:
    """
    Whether a kernel of a node needs the length of the sequences: where a size of what it reads or writes follows it.
    """
    return any(follows(model.tensors[name].shape) for name in (*node.inputs, *node.outputs))


def _write(model: Model, node: Node, activation: str) -> Writer:
    op = node.op
    if op == "dense_over":
        return lambda body, node, inputs, results: write_dense_over(body, inputs, results[0], activation)
    if op == "winograd":
        plan, rooms = plan_of(model, node), rooms_in(model, node)
        return lambda body, node, inputs, results: write_winograd(body, plan, rooms, len(inputs) > 3, activation)
    if activation or op in UNARY:
        return lambda body, node, inputs, results: write_elements(body, [*inputs], results[0], activation or UNARY[op])
    if op in BINARY:
        exponent = _only_value(model, node.inputs[1])
        return lambda body, node, inputs, results: write_binary(op, body, [*inputs], results[0], exponent)
    if op == "take":
        indices = model.tensors[node.inputs[1]]
        return lambda body, node, inputs, results: arranging.write_take(body, node, inputs[0], results[0], indices)
    if op not in WRITERS:
        raise BuildError("codegen", f"node {quote(node.name)}: there is no kernel for op {op}")
    return WRITERS[op]


def _only_value(model: Model, name: str) -> float | None:
    """
    The value that all elements of a constant have, if they have one.
    """
    data = model.tensors[name].data
    if data is None or not data.size or not (data == data.flat[0]).all():
        return None
    return float(np.asarray(data.flat[0]))


INPUTS = {
    "where": ("condition", "source", "other"),
    "embedding": ("indices", "table"),
    "dense": ("source", "weight", "bias"),
    "dense_over": ("source", "weight", "bias", "added"),
    "winograd": ("source", "weight", "bias", "added"),
    "layer_norm": ("source", "weight", "bias"),
    "group_norm": ("source", "weight", "bias"),
    "rms_norm": ("source", "weight"),
    "attention": ("queries", "keys", "values", "mask"),
    "lstm": ("source", "state", "cell", "weight", "recurrent", "bias"),
    "lstm_steps": ("source", "state", "cell", "weight"),
    "gru": ("source", "state", "weight", "recurrent", "bias", "recurrent_bias"),
    "rnn": ("source", "state", "weight", "recurrent", "bias"),
    "conv": ("source", "weight", "bias"),
    "conv_transposed": ("source", "weight", "bias"),
    "take": ("source", "indices"),
    "gather": ("source", "indices"),
}
"""What kernels call their inputs, where that says more than `source` and `other`."""

WRITERS: Mapping[str, Writer] = {
    "where": lambda body, node, inputs, results: write_elements(
        body, [*inputs], results[0], "select(c == 0.0, y, x)", ("c", "x", "y")
    ),
    "cast": lambda body, node, inputs, results: write_elements(
        body, [*inputs], results[0], cast_expression(inputs[0].dtype, results[0].dtype)
    ),
    "permute": lambda body, node, inputs, results: arranging.write_permute(body, node, inputs[0], results[0]),
    "expand": lambda body, node, inputs, results: arranging.write_expand(body, node, inputs[0], results[0]),
    "slice": lambda body, node, inputs, results: arranging.write_slice(body, node, inputs[0], results[0]),
    "flip": lambda body, node, inputs, results: arranging.write_flip(body, node, inputs[0], results[0]),
    "join": lambda body, node, inputs, results: arranging.write_join(body, node, inputs, results[0]),
    "surround": lambda body, node, inputs, results: arranging.write_surround(body, node, inputs[0], results[0]),
    "embedding": lambda body, node, inputs, results: arranging.write_embedding(body, *inputs, *results),
    "gather": lambda body, node, inputs, results: arranging.write_gather(body, node, *inputs, *results),
    **dict.fromkeys(FOLDS, lambda body, node, inputs, results: write_reduction(body, node, inputs[0], results[0])),
    "index_of_max": lambda body, node, inputs, results: write_place_of_extreme(body, node, inputs[0]),
    "index_of_min": lambda body, node, inputs, results: write_place_of_extreme(body, node, inputs[0]),
    "top": lambda body, node, inputs, results: write_top(body, node, inputs[0]),
    "running_sum": lambda body, node, inputs, results: write_running_sum(body, node, inputs[0]),
    "softmax_over": lambda body, node, inputs, results: norms.write_softmax(body, node, inputs[0]),
    "log_softmax_over": lambda body, node, inputs, results: norms.write_softmax(body, node, inputs[0]),
    "layer_norm": lambda body, node, inputs, results: norms.write_row_norm(body, node, inputs[0]),
    "rms_norm": lambda body, node, inputs, results: norms.write_row_norm(body, node, inputs[0]),
    "group_norm": lambda body, node, inputs, results: norms.write_group_norm(body, node, inputs[0]),
    "matmul": lambda body, node, inputs, results: write_matmul(body, *inputs, *results),
    "attention": lambda body, node, inputs, results: write_attention(body, node, inputs, results[0]),
    **dict.fromkeys(("lstm", "gru", "rnn"), write_sequence),
    "lstm_steps": write_lstm_steps,
    "conv": lambda body, node, inputs, results: write_conv(body, node, *inputs[:2], *results),
    "conv_transposed": lambda body, node, inputs, results: write_conv_transposed(body, node, *inputs[:2], *results),
    "max_pool": lambda body, node, inputs, results: pools.write_max_pool(body, node, *inputs, *results),
    "avg_pool": lambda body, node, inputs, results: pools.write_avg_pool(body, node, *inputs, *results),
    "pool2d": lambda body, node, inputs, results: write_pool2d(body, node, *inputs, *results),
    "adaptive_avg_pool": lambda body, node, inputs, results: pools.write_adaptive_avg_pool(body, *inputs, *results),
    "upsample_nearest": lambda body, node, inputs, results: pools.write_nearest(body, node, *inputs, *results),
    "upsample_bilinear": lambda body, node, inputs, results: pools.write_bilinear(body, node, *inputs, *results),
}
"""Who writes the body of an op's kernel."""
