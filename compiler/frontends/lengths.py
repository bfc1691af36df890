"""
One model for all lengths of a sequence, made of the models that a source is at a few of them.

A source whose sequences have any length is translated as if they had a fixed one, several times. What is the same each
time belongs to the model; a size that grows as the length does follows it; a constant that only grows at its end is the
largest one. What differs otherwise depends on the length in a way that is not compiled.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from compiler.errors import UnsupportedError, quote
from compiler.frontends.counts import with_counts
from compiler.frontends.following import in_ops_that_follow, replaceable
from compiler.ir import Attribute, Dimension, Length, Model, Node, Tensor
from compiler.ops.lengths import follows, unfit

USUAL = 5
"""The smallest length that a source is first tried with."""
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

Places = Mapping[str, str]
"""Where nodes come from, by the name of their first output, in words for messages."""


def bounded(name: str, least: int, most: int | None, longest: int | None, where: str) -> Length:
    """
    A length with its bounds.

    Args:
        name: what the source calls it.
        least: the smallest.
        most: the largest, if the source has one.
        longest: the largest that the user wants, if there is one.
        where: the source, for messages.

    Raises:
        UnsupportedError: nothing bounds it, or there is only one length.
    """
    largest = min((size for size in (most, longest) if size is not None), default=None)
    if largest is None:
        raise UnsupportedError(
            where, f"{quote(name)} has no largest length, for which memory is laid out: give one, --longest 64"
        )
    if largest <= least:
        text = f"{quote(name)} is from {least} to {largest}: with one length only, build it with fixed sizes"
        raise UnsupportedError(where, text)
    return Length(name if IDENTIFIER.fullmatch(name) else "length", least, largest)


def all_lengths(translate: Callable[[int], tuple[Model, Places]], length: Length, *, costly: bool = False) -> Model:
    """
    The model that follows a length.

    Args:
        translate: gives the model of sequences of one length, and where its nodes come from.
        length: the length, with its bounds.
        costly: whether that takes the longer the longer the sequences are: then the largest length is only asked for
            where a constant is needed for it.

    Raises:
        UnsupportedError: it depends on the length in a way that is not compiled; naming the nodes that do.
    """
    if costly:
        merged = _merged(translate, length, _short(length))
        if not any(follows(tensor.shape) for tensor in merged.constants()):
            return merged
    return _merged(translate, length, _chosen(length))


def _merged(translate: Callable[[int], tuple[Model, Places]], length: Length, chosen: Sequence[int]) -> Model:
    translated = list(map(translate, chosen))
    models = with_counts([_with_reductions(model) for model, _ in translated], chosen)
    places = translated[0][1]
    merged = _Merging(length, chosen, models[0], models[1:], places).model()
    others = {node.outputs[0] for node, _ in unfit(merged) if replaceable(node)}
    if others:
        models = [in_ops_that_follow(model, others) for model in models]
        merged = _Merging(length, chosen, models[0], models[1:], places).model()
    findings = [f"{places.get(node.outputs[0], quote(node.name))}: {text}" for node, text in unfit(merged)]
    if findings:
        raise UnsupportedError(merged.origin.file, *findings)
    return merged


def _short(length: Length) -> list[int]:
    """
    Small lengths, but not so small that other sizes are often the same.
    """
    start = max(USUAL, length.least)
    found = [size for size in (start + 3, start, start + 1) if size <= length.most]
    return found if len(found) > 1 else _chosen(length)


def _chosen(length: Length) -> list[int]:
    """
    The largest length and others, not 1: a dimension of size 1 repeats, and is left out, where others are not.
    """
    most = length.most
    others = {max(2, length.least, most // 2 + 1), max(2, length.least, most // 3 + 1)} - {most}
    return [most, *sorted(others or {length.least})]


def _with_reductions(model: Model) -> Model:
    """
    The model with reductions in the place of windows that are as large as the image, whose sizes follow the length.
    """
    return replace(model, nodes=tuple(_reduction(model, node) or node for node in model.nodes))


def _reduction(model: Model, node: Node) -> Node | None:
    image = model.tensors[node.inputs[0]].fixed_shape[2:]
    has = node.attributes
    whole = node.op == "adaptive_avg_pool" and has["size"] == (1, 1)
    if node.op in ("max_pool", "avg_pool"):
        whole = has["kernel"] == image and has["padding"] == (0, 0) and has.get("dilation", (1, 1)) == (1, 1)
    if not whole:
        return None
    op = "reduce_max" if node.op == "max_pool" else "reduce_mean"
    return replace(node, op=op, attributes={"axes": (2, 3), "keep": True})


class _Merging:
    def __init__(
        self, length: Length, lengths: Sequence[int], largest: Model, others: Sequence[Model], places: Places
    ) -> None:
        self.length, self.lengths = length, lengths
        self.largest, self.others, self.places = largest, others, places
        self.findings: list[str] = []
        self.place = "the inputs"

    def model(self) -> Model:
        self._check_steps()
        nodes = tuple(self._node(*each) for each in self._zipped([m.nodes for m in (self.largest, *self.others)]))
        self._raise()
        producers = {name: node for node in nodes for name in node.outputs}
        readers = {name: node for node in reversed(nodes) for name in node.inputs}
        tensors = {}
        for name in self.largest.tensors:
            near = producers.get(name) or readers.get(name)
            self.place = self._place(near) if near else quote(name)
            tensors[name] = self._tensor(*(model.tensors[name] for model in (self.largest, *self.others)))
        self._raise()
        return replace(self.largest, nodes=nodes, tensors=tensors)

    def _raise(self) -> None:
        if self.findings:
            raise UnsupportedError(self.largest.origin.file, *dict.fromkeys(self.findings))

    def _place(self, node: Node) -> str:
        return self.places.get(node.outputs[0], f"node {quote(node.name)}")

    def _refuse(self, found: str) -> None:
        self.findings.append(
            f"{self.place}: {found} at the lengths {', '.join(map(str, self.lengths))}: only sizes that are the "
            "length, or that and a fixed number, are compiled; build the model with a fixed length"
        )

    def _zipped(self, each: Sequence[Sequence[Node]]) -> list[tuple[Node, ...]]:
        return list(zip(*each, strict=True))

    def _check_steps(self) -> None:
        """
        Refuses models that are computed in other steps.
        """
        for other in self.others:
            for one, two in zip(self.largest.nodes, other.nodes, strict=False):
                if (one.op, one.name, one.inputs, one.outputs) != (two.op, two.name, two.inputs, two.outputs):
                    self.place = self._place(one)
                    self._refuse("is not computed in the same way")
                    self._raise()
            if len(self.largest.nodes) != len(other.nodes) or self.largest.tensors.keys() != other.tensors.keys():
                self._refuse("the model is not computed in the same steps")
                self._raise()

    def _node(self, largest: Node, *others: Node) -> Node:
        self.place = self._place(largest)
        keys = largest.attributes
        values = {key: self._attribute(key, *(node.attributes[key] for node in (largest, *others))) for key in keys}
        return replace(largest, attributes=values)

    def _attribute(self, key: str, *values: Attribute) -> Attribute:
        first = values[0]
        if all(value == first for value in values):
            return first
        if all(type(value) is int for value in values):
            return self._size(f"attribute {key}", *values)  # type: ignore[arg-type]
        if len({len(value) if isinstance(value, tuple) else -1 for value in values}) == 1 and isinstance(first, tuple):
            sizes = zip(*values, strict=True)
            return tuple(self._size(f"attribute {key}", *each) for each in sizes)
        self._refuse(f"attribute {key} is {', '.join(map(quote, values))}")
        return first

    def _size(self, what: str, *sizes: int) -> int:
        """
        A size that is the same at all lengths, or follows them.
        """
        first = sizes[0]
        if all(size == first for size in sizes):
            return first
        shifts = {size - length for size, length in zip(sizes, self.lengths, strict=True)}
        if len(shifts) > 1 or not all(type(size) is int for size in sizes):
            self._refuse(f"{what} is {', '.join(map(str, sizes))}")
            return first
        return self.length + (first - self.lengths[0])

    def _tensor(self, largest: Tensor, *others: Tensor) -> Tensor:
        if len({(tensor.dtype, len(tensor.shape)) for tensor in (largest, *others)}) > 1:
            self._refuse(f"the dimensions of {quote(largest.name)} are not as many")
            return largest
        shapes = zip(*(tensor.shape for tensor in (largest, *others)), strict=True)
        shape = tuple(self._dimension(largest.name, *sizes) for sizes in shapes)
        for other in others:
            if largest.data is not None and other.data is not None:
                beginning = largest.data[tuple(map(slice, other.data.shape))]
                if np.ascontiguousarray(beginning).tobytes() != np.ascontiguousarray(other.data).tobytes():
                    self._refuse(f"the constant {quote(largest.name)} holds other values")
                    break
        return Tensor(largest.name, largest.dtype, shape, largest.data)

    def _dimension(self, name: str, *sizes: Dimension) -> Dimension:
        if all(isinstance(size, int) for size in sizes):
            return self._size(f"a dimension of {quote(name)}", *sizes)  # type: ignore[arg-type]
        return sizes[0]
