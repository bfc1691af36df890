"""
Models whose sequences have a length that is known at run time: the model of one length, and which ops can follow one.

What such a model means is what it means at each length: `at_length` gives that, a model of fixed sizes, whose rules and
references know nothing of lengths. What kernels can do is `FOLLOWING`; all else is refused.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from compiler.errors import quote
from compiler.ir import Attribute, Dimension, Length, Model, Node, Tensor
from compiler.ops import arithmetic, elementwise, unary

Sizes = tuple[Dimension, ...]


def length_of(model: Model) -> Length | None:
    """
    The length that sizes of a model follow, if any do.
    """
    for tensor in model.tensors.values():
        for size in tensor.shape:
            if isinstance(size, Length):
                return Length(*size.bounds)
    return None


def at_length(model: Model, length: int) -> Model:
    """
    The model of fixed sizes that a model is where its sequences have this length.
    """
    nodes = tuple(_node_at(node, length) for node in model.nodes)
    return replace(
        model, nodes=nodes, tensors={name: _tensor_at(tensor, length) for name, tensor in model.tensors.items()}
    )


def samples(length: Length) -> list[int]:
    """
    Some lengths that stand for all: the smallest, the largest, and some between.
    """
    least, most = length.least, length.most
    return sorted({least, min(least + 1, most), (least + most) // 2, most})


def follows(sizes: Sequence[object]) -> list[int]:
    """
    The places of the sizes that follow a length.
    """
    return [place for place, size in enumerate(sizes) if isinstance(size, Length)]


def _size_at(size: Dimension, length: int) -> Dimension:
    return size.at(length) if isinstance(size, Length) else size


def _tensor_at(tensor: Tensor, length: int) -> Tensor:
    if not follows(tensor.shape):
        return tensor
    shape = tuple(_size_at(size, length) for size in tensor.shape)
    if tensor.data is None:
        return replace(tensor, shape=shape)
    sizes = tuple(slice(size) for size in shape if isinstance(size, int))
    return replace(tensor, shape=shape, data=tensor.data[sizes].copy())


def _node_at(node: Node, length: int) -> Node:
    def fixed(value: Attribute) -> Attribute:
        if isinstance(value, tuple) and follows(value):
            return tuple(_size_at(size, length) for size in value)  # type: ignore[arg-type, return-value]
        return value.at(length) if isinstance(value, Length) else value

    return replace(node, attributes={key: fixed(value) for key, value in node.attributes.items()})


def unfit(model: Model) -> Iterator[tuple[Node, str]]:
    """
    The nodes of a model that can't follow its length, each with the reason and what can be done.
    """
    for node in model.nodes:
        found = _unfit(node, model.tensors)
        if found is not None:
            yield node, found


def _unfit(node: Node, tensors: Mapping[str, Tensor]) -> str | None:
    given, results = ([_dims(tensors[name]) for name in names] for names in (node.inputs, node.outputs))
    attributes = {key for key, value in node.attributes.items() if _following(value)}
    if not attributes and not any(map(follows, [*given, *results])):
        return None
    constants = [tensors[name].shape for name in node.inputs if tensors[name].data is not None]
    if node.op in ("matmul", "dense_over") and any(map(follows, constants)):
        return f"op {node.op} multiplies by a constant that follows the length{ADVICE}"
    rule = FOLLOWING.get(node.op)
    if rule is None:
        return f"op {node.op} can't follow a length that is known at run time only{ADVICE}"
    if attributes - ATTRIBUTES.get(node.op, set()):
        return f"attribute {quote(min(attributes))} of op {node.op} can't follow the length{ADVICE}"
    found = rule(node, given, results)
    return None if found is None else f"op {node.op} {found}{ADVICE}"


ADVICE = "; build the model with a fixed length, or without that op"


def _dims(tensor: Tensor) -> Sizes:
    return tensor.shape if tensor.data is not None else tensor.shape[1:]


def _following(value: Attribute) -> bool:
    return isinstance(value, Length) or (isinstance(value, tuple) and bool(follows(value)))


Rule = Callable[[Node, list[Sizes], list[Sizes]], str | None]


def _always(node: Node, given: list[Sizes], results: list[Sizes]) -> str | None:
    return None


def _reshape(node: Node, given: list[Sizes], results: list[Sizes]) -> str | None:
    """
    Elements lie as for the largest length: before and after each length there must stay as many.
    """
    if _around_lengths(given[0]) == _around_lengths(results[0]):
        return None
    return f"makes {results[0]} of {given[0]}, which joins the length with another dimension"


def _around_lengths(sizes: Sizes) -> list[object]:
    found: list[object] = []
    between: list[int] = []
    for size in sizes:
        if isinstance(size, Length):
            found += [math.prod(between), size]
            between = []
        else:
            assert isinstance(size, int)
            between.append(size)
    return [*found, math.prod(between)]


def _except(axis: str) -> Rule:
    def rule(node: Node, given: list[Sizes], results: list[Sizes]) -> str | None:
        along = node.attributes[axis] in follows(given[0])
        return f"works along the length, axis {node.attributes[axis]}" if along else None

    return rule


def _only(*places: int) -> Rule:
    """
    The rule of ops whose first input may follow a length in these dimensions alone.
    """

    def rule(node: Node, given: list[Sizes], results: list[Sizes]) -> str | None:
        others = set(follows(given[0])) - set(places)
        return f"works along the length, dimension {min(others)} of {given[0]}" if others else None

    return rule


def _trailing(node: Node, given: list[Sizes], results: list[Sizes]) -> str | None:
    count = node.attributes["count"]
    assert isinstance(count, int)
    return "normalises along the length" if follows(given[0][len(given[0]) - count :]) else None


def _conv(node: Node, given: list[Sizes], results: list[Sizes]) -> str | None:
    along = set(follows(given[0])) - {0}
    if not along <= {2, 3} or len(along) > 1:
        return f"takes images {given[0]}, of which only the height or the width may follow the length"
    return None


FOLLOWING: dict[str, Rule] = {
    **dict.fromkeys((op.name for op in (*arithmetic.ROWS, *unary.ROWS)), _always),
    **dict.fromkeys((op.name for op in elementwise.ROWS if op.elementwise), _always),
    **dict.fromkeys(("permute", "expand", "slice", "flip", "join", "surround", "embedding", "gather"), _always),
    **dict.fromkeys((f"reduce_{fold}" for fold in ("sum", "mean", "max", "min", "product", "any", "all")), _always),
    **dict.fromkeys(("index_of_max", "index_of_min", "running_sum", "softmax_over", "log_softmax_over"), _always),
    "reshape": _reshape,
    "take": _except("axis"),
    "layer_norm": _trailing,
    "rms_norm": _trailing,
    "group_norm": _only(0),
    "matmul": _always,
    "linear_over": _always,
    "dense_over": _always,
    "attention": _always,
    **dict.fromkeys(("lstm", "lstm_steps", "gru", "rnn"), _only(0)),
    "conv": _conv,
    **dict.fromkeys(("max_pool", "avg_pool", "adaptive_avg_pool"), _only(0, 1)),
    **dict.fromkeys(("upsample_nearest", "upsample_bilinear"), _only(0, 1)),
}
"""The ops whose kernels can follow a length, each with what it can't do."""

ATTRIBUTES: Mapping[str, set[str]] = {"reshape": {"shape"}, "expand": {"shape"}, "slice": {"start", "stop"}}
"""The attributes that may follow a length."""
