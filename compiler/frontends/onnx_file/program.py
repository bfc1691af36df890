"""
An ONNX graph to a model: node by node, by the table of translations.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto

from compiler.errors import CheckpointError, PolicycError, UnsupportedError, quote
from compiler.frontends.computed import Computed
from compiler.frontends.lengths import Places
from compiler.frontends.nearest import nearest
from compiler.frontends.onnx_file.batch import USUAL, read_inputs
from compiler.frontends.onnx_file.biases import added_biases
from compiler.frontends.onnx_file.graph import Graph, Place, Value
from compiler.frontends.onnx_file.independence import Batch
from compiler.frontends.onnx_file.loading import CONDITION, array_of, attributes_of, opset
from compiler.frontends.onnx_file.translations import TRANSLATIONS
from compiler.frontends.onnx_file.walking import names_read, needed
from compiler.ir import DType, Model, Origin, Output

MOST_MISSING = 50
ALIKE = 0.6
"""How like another's the name of an op must be to be named instead; ONNX's say what they do."""
WEIGHED = frozenset(
    {"BatchNormalization", "Conv", "ConvTranspose", "GRU", "Gemm", "GroupNormalization", "InstanceNormalization"}
    | {"LSTM", "LayerNormalization", "MatMul", "PRelu", "RMSNormalization", "RNN"}
)
"""Ops that multiply by a weight: infinity there is a mistake, elsewhere it may be a mask."""
COMPILED = frozenset({*TRANSLATIONS, CONDITION})
RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
QUANTISED = re.compile("[qQ]uantize|Integer|^QLinear")
"""Ops of quantised models."""


def translate(model: ModelProto, name: str, origin: Origin, *, allow_nonfinite: bool = False) -> Model:
    """
    The model of one sample of an ONNX graph.

    Args:
        model: as `loading.load` gives it.
        name: the model's name.
        origin: where it comes from.
        allow_nonfinite: whether weights may be NaN or infinite.

    Raises:
        CheckpointError: a tensor is damaged.
        UnsupportedError: it has inputs, ops or sizes that can't be compiled; all ops that are missing at once.
    """
    return translate_length(model, name, origin, allow_nonfinite=allow_nonfinite)[0]


def translate_length(
    model: ModelProto, name: str, origin: Origin, *, allow_nonfinite: bool = False, length: int = USUAL
) -> tuple[Model, Places]:
    """
    The same of a graph whose sequences have one length, where that is dynamic; and where its nodes come from.
    """
    translation = _Translation(model, origin, allow_nonfinite, length)
    return translation.model(name), translation.graph.origins


def tried(
    model: ModelProto, where: str, sizes: Mapping[str, tuple[DType, tuple[int, ...]]]
) -> Iterator[tuple[str, str]]:
    """
    The nodes that can't be translated, all of them, by their first result, each with the reason.

    Args:
        model: as `loading.load` gives it.
        where: the file, for messages.
        sizes: the kinds and sizes of results for one sample, where they are known: for what is behind such a node.

    Raises:
        UnsupportedError: in the end, or at once: its inputs or outputs can't be compiled.
    """
    yield from _Translation(model, Origin(where, "", ""), True, USUAL).tried(sizes)


class _Translation:
    """
    The values of one graph, as they become known.
    """

    def __init__(self, model: ModelProto, origin: Origin, allow_nonfinite: bool, length: int) -> None:
        self.proto: GraphProto = model.graph
        self.origin, self.allow_nonfinite = origin, allow_nonfinite
        self.inputs = read_inputs(model.graph, origin.file, length)
        self.graph = Graph(origin.file, opset(model))
        self.nodes = needed(model.graph.node, [output.name for output in model.graph.output])
        self.done: list[NodeProto] = []
        """What is translated: the nodes, and in the place of a condition those of its branch."""
        self.file = model
        self.read = {name for node in self.nodes for name in names_read(node)} | {
            out.name for out in model.graph.output
        }
        self.values: dict[str, Value] = {"": None}
        self.biases: dict[str, tuple[str, str]] = {}
        self.sums: dict[str, str] = {}

    def model(self, name: str) -> Model:
        """
        The whole model.
        """
        self._check_ops()
        self._declare()
        self.biases = added_biases(self.nodes, self.values, {value.name for value in self.proto.output})
        self.sums = {total: product for product, (total, _) in self.biases.items()}
        for node in self.nodes:
            self._translate(node)
        self._check_batch()
        builder = self.graph.builder
        outputs = self._outputs()
        used = {name for node in builder.nodes for name in node.inputs} | {output.tensor for output in outputs}
        tensors = {key: value for key, value in builder.tensors.items() if value.data is None or key in used}
        return Model(
            name=name,
            nodes=tuple(builder.nodes),
            tensors=tensors,
            inputs=tuple(each.name for each in self.inputs.each),
            outputs=outputs,
            origin=replace(self.origin, assumptions=self._left_out(outputs)),
            batched=self.inputs.batched,
        )

    def tried(self, sizes: Mapping[str, tuple[DType, tuple[int, ...]]]) -> Iterator[tuple[str, str]]:
        """
        Translates all nodes, also behind those that are refused: these, each with the reason.
        """
        self._declare()
        unknown: set[str] = set()
        for node in self.nodes:
            if unknown.intersection(node.input):
                unknown.update(node.output)
                continue
            try:
                self._translate(node)
            except UnsupportedError as error:
                yield node.output[0], "; ".join(error.findings)
                for name in filter(None, node.output):
                    if name in sizes:
                        self.values[name] = self.graph.input(f"{name}:unknown", *sizes[name])
                    else:
                        unknown.add(name)
        if not unknown:
            self._outputs()

    def _declare(self) -> None:
        """
        Inputs of the model, and what the file holds.
        """
        for each in self.inputs.each:
            dims = each.dims[1:] if self.inputs.batched else each.dims
            self.values[each.name] = self.graph.reshape(self.graph.input(each.name, each.kind, dims), each.dims)
        weights = {name for node in self.nodes if node.op_type in WEIGHED for name in node.input[1:]}
        findings = []
        for tensor in self.proto.initializer:
            if tensor.name not in self.read:
                continue
            value = self.graph.call(array_of(tensor, self.origin.file), tensor.name)
            if value.dtype.kind == "f" and not self.allow_nonfinite:
                bad = not np.isfinite(value).all() if tensor.name in weights else np.isnan(value).any()
                if bad:
                    text = "holds NaN or infinity (--allow-nonfinite-weights compiles it)"
                    findings.append(f"initializer {quote(tensor.name)} {text}")
            self.values[tensor.name] = value
        if findings:
            raise UnsupportedError(self.origin.file, *findings[:MOST_MISSING])

    def _check_ops(self) -> None:
        """
        Refuses, all at once, the ops that are not translated.
        """
        missing: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            if node.op_type not in COMPILED:
                missing.setdefault(node.op_type, []).append(node)
        findings = [_missing(op, nodes) for op, nodes in list(missing.items())[:MOST_MISSING]]
        if findings:
            raise UnsupportedError(self.origin.file, *findings)

    def _translate(self, node: NodeProto) -> None:
        """
        The results of one node become known.
        """
        where = self.origin.file
        self.graph.place = place_of(node, self.read)
        if node.op_type not in COMPILED:
            self.graph.refuse("is not compiled")
        absent = [name for name in node.input if name not in self.values]
        if absent:
            raise CheckpointError(where, f"{self.graph.place} reads {quote(absent[0])}, which nothing gives")
        given = [self.values[name] for name in node.input]
        if node.op_type == CONDITION:
            self._branch(node, given[0])
            return
        if node.op_type == "Add" and node.output[0] in self.sums:
            self.values[node.output[0]] = self.values[self.sums[node.output[0]]]
            self.done.append(node)
            return
        if node.op_type == "MatMul" and node.output[0] in self.biases:
            given.append(self.values[self.biases[node.output[0]][1]])
        has = attributes_of(node, where)
        try:
            found = TRANSLATIONS[node.op_type](self.graph, given, has)
        except PolicycError:
            raise
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
            # Sizes and attributes that contradict each other, where nothing above has found it.
            text = f"can't be translated: {type(error).__name__}: {quote(str(error), 200)}"
            raise UnsupportedError(where, f"{self.graph.place}: {text}") from error
        results = found if isinstance(found, list) else [found]
        for index, name in enumerate(node.output):
            if index < len(results):
                self.values[name] = results[index]
            elif name in self.read and name:
                self.graph.refuse(f"its result {index} is used, which is not compiled")
        self.values[""] = None
        self.done.append(node)

    def _branch(self, node: NodeProto, condition: Value) -> None:
        """
        The nodes of the branch that is taken, in the place of a condition that is known: exporters ask for sizes so.
        """
        if not isinstance(condition, np.ndarray) or condition.size != 1:
            self.graph.refuse("its condition depends on the inputs: compute both branches, and pick with Where")
        graphs = {attribute.name: attribute.g for attribute in node.attribute}
        graph = graphs["then_branch" if condition.all() else "else_branch"]
        nodes = [onnx.helper.make_node("Constant", [], [each.name], value=each) for each in graph.initializer]
        results = [output.name for output in graph.output]
        nodes += needed(graph.node, results)
        nodes += [
            onnx.helper.make_node("Identity", [found], [result])
            for found, result in zip(results, node.output, strict=False)
        ]
        self.read.update(name for each in nodes for name in names_read(each))
        for each in nodes:
            self._translate(each)

    @cached_property
    def batch(self) -> Batch:
        """
        Where the batch is.

        Only after the translation, which has refused what is huge by then: onnx infers without a bound.
        """
        return Batch(self.file, self.done)

    def _check_batch(self) -> None:
        """
        Refuses nodes that let samples meet.
        """
        if not self.inputs.batched:
            return
        for node in self.done:
            given = [self.values[name] for name in node.input]
            mixed = self.batch.mixing(node, given)
            if mixed is not None and any(isinstance(value, Computed) for value in given):
                self.graph.place = place_of(node, self.read)
                self.graph.refuse(f"{mixed}; with fixed sizes, without a dynamic batch, it can be compiled")

    def _outputs(self) -> tuple[Output, ...]:
        """
        The outputs, each a tensor of its own, without the batch's dimension.
        """
        names = [value.name for value in self.proto.output]
        if len(set(names)) != len(names) or not names:
            raise CheckpointError(self.origin.file, f"must have outputs, each once, found {quote(names)}")
        self.graph.place = None
        taken = {each.name for each in self.inputs.each}
        computed = [output for output in self.proto.output if isinstance(self.values.get(output.name), Computed)]
        if not computed:
            text = f"{quote(names[0])} is the same for every input, as all its outputs are: nothing is computed"
            raise UnsupportedError(self.origin.file, f"output {text}")
        outputs = []
        for output in computed:
            result = self._output(output)
            if result in taken:
                value = self.graph.builder.tensors[result]
                result = self.graph.builder.add("reshape", [result], f"{output.name}.result", shape=value.fixed_shape)
            taken.add(result)
            outputs.append(Output(output.name, result, "output"))
        return tuple(outputs)

    def _output(self, output: Any) -> str:
        value, what = self.values[output.name], f"output {quote(output.name)}"
        if not self.inputs.batched:
            return str(value.name)
        sizes = output.type.tensor_type.shape.dim
        declared = bool(sizes) and sizes[0].HasField("dim_value") and self.batch.axis.get(output.name) != 0
        if not value.dims or value.dims[0] != 1 or declared:
            first = sizes[0].dim_value if declared else "none"
            text = f"must have the batch as its first dimension, as the inputs have; for one sample it has {value.dims}"
            raise UnsupportedError(self.origin.file, f"{what} {text}, the file says {first} for the first")
        return self.graph.builder.add("reshape", [value.name], output.name, shape=value.dims[1:])

    def _left_out(self, outputs: Sequence[Output]) -> tuple[str, ...]:
        """
        What is said of outputs that no input changes: numbers of versions, sizes of memories.
        """
        kept = {output.name for output in outputs}
        names = [quote(output.name) for output in self.proto.output if output.name not in kept]
        if not names:
            return ()
        return (f"that nobody needs the outputs that are the same for every input: {', '.join(names)} left out",)


def place_of(node: NodeProto, read: set[str]) -> Place:
    """
    A node, as messages name it.
    """
    return Place(node.op_type, node.name, tuple(node.output), tuple(name in read for name in node.output))


def _missing(op: str, nodes: Iterable[NodeProto]) -> str:
    """
    One op that is missing: where it is, and what is nearest to it.
    """
    first, *more = nodes
    others = f", and {len(more)} more of it" if more else ""
    if op in RANDOM:
        return f"{place_of(first, set())} draws at random, which is not compiled{others}"
    if QUANTISED.search(op):
        text = "is not compiled, as quantised models are not: give the file from before its quantisation"
        return f"{place_of(first, set())} {text}{others}"
    found = nearest_to(op)
    instead = f"; the nearest that is: {found}" if found else ""
    return f"{place_of(first, set())} is not compiled{others}{instead}"


def nearest_to(op: str) -> str | None:
    """
    The op that is translated and whose name is most like another.
    """
    return nearest(op.lower(), {known.lower(): known for known in TRANSLATIONS}, ALIKE)
