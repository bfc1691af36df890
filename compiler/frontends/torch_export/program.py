"""
An exported program to a model: its graph node by node, by the table of translations.
"""

import math
import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument

from compiler.errors import UnsupportedError, quote
from compiler.frontends.computed import Computed
from compiler.frontends.lengths import Places as Sources
from compiler.frontends.lengths import all_lengths
from compiler.frontends.torch_export.batch import Batch, batch_of, bounds_of
from compiler.frontends.torch_export.decompositions import DECOMPOSITIONS
from compiler.frontends.torch_export.graph import Graph, Value, kind_of
from compiler.frontends.torch_export.independence import mixing
from compiler.frontends.torch_export.missing import check_ops
from compiler.frontends.torch_export.places import Places
from compiler.frontends.torch_export.quiet import quietly
from compiler.frontends.torch_export.remembered import beginning
from compiler.frontends.torch_export.sources import place
from compiler.frontends.torch_export.translate_shapes import SIZED
from compiler.frontends.torch_export.translations import TRANSLATIONS
from compiler.ir import DType, Model, Origin, Output, State

MOST_ELEMENTS = 1 << 27
"""Of what is computed at build time, before memory is taken for it."""
TRIED = 8
"""The length of sequences, where that is dynamic, with which operations are tried."""
NUMBER = "takes a number out of a tensor (.item(), int(), float()), which depends on the data: keep it a tensor"
STATISTICS = "if it is a statistic of training, call module.eval() before the export"


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """
    The program without writes in place, of the ops that are translated and those that torch makes of all others.
    """
    table = torch.export.default_decompositions()
    table.update(DECOMPOSITIONS)
    for op in TRANSLATIONS:
        table.pop(op, None)
    with quietly():
        return program.run_decompositions(table)


def translate(
    program: ExportedProgram, name: str, origin: Origin, *, allow_nonfinite: bool = False, longest: int | None = None
) -> Model:
    """
    The model of one sample of a program.

    Args:
        program: as torch.export made it.
        name: the model's name.
        origin: where the program comes from.
        allow_nonfinite: whether weights may be NaN or infinite.
        longest: the largest length of sequences whose length is dynamic, where the program has none or a larger one.

    Raises:
        UnsupportedError: it has inputs, sizes, ops or effects that can't be compiled; all that are missing at once.
    """
    program = decomposed(program)
    batch = batch_of(program, origin.file)
    _check_effects(program, batch, origin.file)
    if batch.sequence is None:
        return _Translation(program, batch, origin, allow_nonfinite).model(name)

    def at(length: int) -> tuple[Model, Sources]:
        return _Translation(program, batch.of(length), origin, allow_nonfinite).placed(name)

    return all_lengths(at, bounds_of(program, batch, longest, origin.file))


def translate_fixed(
    program: ExportedProgram, name: str, origin: Origin, *, allow_nonfinite: bool = False
) -> tuple[Model, Sources]:
    """
    The model of one sample of a program without other dynamic sizes, and where its nodes come from.
    """
    program = decomposed(program)
    batch = batch_of(program, origin.file)
    _check_effects(program, batch, origin.file)
    return _Translation(program, batch, origin, allow_nonfinite).placed(name)


def tried(program: ExportedProgram, where: str) -> Iterator[tuple[torch.fx.Node, str]]:
    """
    The nodes of a decomposed program that can't be translated, all of them, each with the reason.

    Raises:
        UnsupportedError: in the end, or at once: its inputs, outputs or effects can't be compiled.
    """
    batch = batch_of(program, where)
    _check_effects(program, batch, where)
    if batch.sequence is not None:
        bounds = program.range_constraints[batch.sequence]
        batch = batch.of(int(min(max(TRIED, bounds.lower), bounds.upper)))
    yield from _Translation(program, batch, Origin(where, "", ""), True).tried()


def _check_effects(program: ExportedProgram, batch: Batch, where: str) -> None:
    """
    Refuses programs that leave behind what can't be a state.
    """
    findings = []
    for target in written(program):
        if batch:
            findings.append(
                f"forward writes to {quote(target)}, which all samples of a batch would share: export the program with "
                f"fixed sizes, which makes it a state; {STATISTICS}"
            )
    if findings:
        raise UnsupportedError(where, *findings)


class _Translation:
    """
    The values of one program's nodes, as they become known.
    """

    def __init__(self, program: ExportedProgram, batch: Batch, origin: Origin, allow_nonfinite: bool) -> None:
        self.program, self.batch, self.origin = program, batch, origin
        self.allow_nonfinite = allow_nonfinite
        self.graph = Graph(origin.file, batch.size)
        self.values: dict[torch.fx.Node, Value] = {}
        self.places = Places(batch)
        self.needed = _needed(program)
        self.inputs: list[str] = []
        self.written = written(program)
        self.initial: dict[str, tuple[str, torch.Tensor]] = {}

    def model(self, name: str) -> Model:
        """
        The whole model.
        """
        self._declare()
        check_ops(
            self.needed, [node for node, value in self.values.items() if isinstance(value, Computed)], self.origin.file
        )
        for node in self.needed:
            if node.op == "call_function":
                self.graph.node = node
                try:
                    self.values[node] = self._value(node)
                except UnsupportedError as error:
                    if error.where.startswith("size "):
                        self.graph.refuse(f"{error.where} {error.findings[0]}")
                    raise
                except Exception as error:  # arguments that no translation knows
                    self.graph.refuse(f"can't be translated: {type(error).__name__}: {quote(str(error), 300)}")
        builder = self.graph.builder
        outputs = self._outputs()
        states = self._states({output.tensor for output in outputs})
        used = {state.initial for state in states}
        used |= {name for node in builder.nodes for name in node.inputs} | {output.tensor for output in outputs}
        tensors = {key: value for key, value in builder.tensors.items() if value.data is None or key in used}
        return Model(
            name=name,
            nodes=tuple(builder.nodes),
            tensors=tensors,
            inputs=tuple(self.inputs),
            outputs=outputs,
            origin=self.origin,
            states=states,
            batched=bool(self.batch),
        )

    def placed(self, name: str) -> tuple[Model, Sources]:
        """
        The whole model, and where its nodes come from.
        """
        model = self.model(name)
        return model, {result: place(node) for result, node in self.graph.origins.items()}

    def tried(self) -> Iterator[tuple[torch.fx.Node, str]]:
        """
        Translates all nodes, also behind those that are refused: these, each with the reason.
        """
        self._declare()
        for node in self.needed:
            if node.op != "call_function":
                continue
            self.graph.node = node
            try:
                self.values[node] = self._value(node)
            except Exception as error:  # an op without a translation, or arguments that none knows
                if isinstance(error, UnsupportedError):
                    yield node, "; ".join(error.findings)
                else:
                    yield node, f"{type(error).__name__}: {quote(str(error), 300)}"
                self.values[node] = self._unknown(node.meta.get("val"), node.name)
        self._outputs()

    def _unknown(self, recorded: Any, name: str) -> Value:
        """
        What stands for the results of a node that is refused: inputs of the same kinds and sizes.
        """
        if isinstance(recorded, list | tuple):
            return [self._unknown(one, f"{name}:{place}") for place, one in enumerate(recorded)]
        if not isinstance(recorded, torch.Tensor):
            return None
        dims = tuple(int(self.batch.size(size)) for size in recorded.shape)
        return self.graph.input(f"{name}:unknown", kind_of(recorded), dims)

    def _declare(self) -> None:
        """
        Inputs of the model, and what is known: parameters, buffers, constants.
        """
        specs = {spec.arg.name: spec for spec in self.program.graph_signature.input_specs}
        known = {**self.program.constants, **dict(self.program.named_buffers())}
        known |= dict(self.program.named_parameters())
        findings = []
        for node in self.program.graph.nodes:
            if node.op != "placeholder":
                continue
            spec = specs[node.name]
            if spec.kind is InputKind.USER_INPUT:
                self.values[node] = self._input(node) if isinstance(spec.arg, TensorArgument) else spec.arg.value
                continue
            if spec.kind is InputKind.TOKEN:
                continue
            value = known.get(str(spec.target))
            if not isinstance(value, torch.Tensor):
                findings.append(f"{quote(spec.target)} is an object of the module, which is not compiled")
                continue
            value = value.detach()
            if spec.target in self.written:
                self.graph.node = None
                given = self.graph.input(f"{spec.target}", DType.FLOAT32, tuple(value.shape))
                self.values[node] = self.graph.cast(given, kind_of(value))
                self.initial[spec.target] = given.name, beginning(spec.target, value, self.origin.file)
                continue
            if value.is_complex() or value.is_quantized or value.layout is not torch.strided:
                findings.append(f"{quote(spec.target)} is {value.dtype}, {value.layout}, which is not compiled")
            elif spec.kind is InputKind.PARAMETER and not self.allow_nonfinite and not _finite(value):
                findings.append(f"{quote(spec.target)} holds NaN or infinity (--allow-nonfinite-weights compiles it)")
            self.values[node] = value
            self.graph.named[id(value)] = str(spec.target)
        if findings:
            raise UnsupportedError(self.origin.file, *findings)

    def _input(self, node: torch.fx.Node) -> Value:
        value = node.meta["val"]
        if value.dtype == torch.float64 or value.is_complex():
            raise UnsupportedError(
                self.origin.file, f"input {quote(node.name)} is {value.dtype}: convert the module with .float()"
            )
        dims = tuple(int(self.batch.size(size)) for size in value.shape)
        if 0 in dims:
            raise UnsupportedError(self.origin.file, f"input {quote(node.name)} is empty: {dims}")
        self.graph.node = None
        kind = DType.UINT8 if value.dtype == torch.uint8 else kind_of(value)
        given = self.graph.input(node.name, kind, dims[1:] if self.batch else dims)
        self.inputs.append(node.name)
        self.graph.node = node
        self.places.follow(node)
        return self.graph.reshape(given, dims)

    def _value(self, node: torch.fx.Node) -> Value:
        """
        What a node gives: computed at once if nothing in it is.
        """
        recorded = node.meta.get("val")
        if node.target is torch.ops.aten._local_scalar_dense.default:
            (given,) = torch.fx.map_arg(node.args, self._argument)
            if isinstance(given, torch.Tensor):
                return given.item()
            self.graph.refuse(NUMBER)
        if isinstance(recorded, torch.SymInt | torch.SymFloat | torch.SymBool | int | float | bool):
            return self.batch.size(recorded)
        target: Any = node.target
        if target in SIZED:
            return SIZED[target](self.graph, None, *torch.fx.map_arg(node.args[1:], self._argument))
        arguments = torch.fx.map_arg(node.args, self._argument)
        others = torch.fx.map_arg(node.kwargs, self._argument)
        mixed = self.places.follow(node)
        if target is operator.getitem:
            values, index = arguments
            if values[index] is None and node.users:
                self.graph.refuse("a result that is not compiled is used")
            return values[index]
        if not _holds_computed((arguments, others)):
            if _elements(recorded) > MOST_ELEMENTS:
                self.graph.refuse(f"makes a constant of more than {MOST_ELEMENTS:,} elements")
            with torch.no_grad():
                return target(*arguments, **others)
        mixed = mixed or mixing(node, self.batch)
        if mixed is not None:
            self.graph.refuse(f"{mixed}; without a dynamic first dimension it can be compiled")
        found = TRANSLATIONS[target](self.graph, *arguments, **others)
        self._check(found)
        return found

    def _argument(self, node: torch.fx.Node) -> Value:
        return self.values[node]

    def _check(self, found: Value) -> None:
        """
        What was translated has the dims and the kind that torch.export recorded.
        """
        several = isinstance(found, list | tuple)
        for index, value in enumerate(found if several else [found]):
            if isinstance(value, Computed):
                place = index if several else None
                expected = kind_of(self.graph.result(place)), self.graph.result_dims(place)
                if (value.dtype, value.dims) != expected:
                    self.graph.refuse(
                        f"gives {value.dtype}{list(value.dims)} for one sample, the program says "
                        f"{expected[0]}{list(expected[1])}"
                    )

    def _outputs(self) -> tuple[Output, ...]:
        """
        The outputs, each a tensor of its own, without the batch's dimension.
        """
        (last,) = (node for node in self.program.graph.nodes if node.op == "output")
        specs = self.program.graph_signature.output_specs
        given = [
            node
            for spec, node in zip(specs, last.args[0], strict=True)
            if spec.kind is OutputKind.USER_OUTPUT and isinstance(node, torch.fx.Node)
        ]
        if not given:
            raise UnsupportedError(self.origin.file, "the module returns no tensor")
        names = ["output"] if len(given) == 1 else [f"output_{place}" for place in range(len(given))]
        taken = set(self.inputs)
        outputs = []
        for name, node in zip(names, given, strict=True):
            self.graph.node = node
            outputs.append(Output(name, self._own(self._output(name, node), name, taken), "output"))
        return tuple(outputs)

    def _states(self, taken: set[str]) -> tuple[State, ...]:
        """
        The buffers that are written: what stands in them before and after.
        """
        states = []
        taken = taken | set(self.inputs) | {name for name, _ in self.initial.values()}
        for target, node in self.written.items():
            self.graph.node = node
            given, initial = self.initial[target]
            value = self.values[node]
            value = self.graph.computed(value) if isinstance(value, torch.Tensor) else value
            result = self._own(self.graph.cast(value, DType.FLOAT32).name, f"{target}:after", taken)
            key = self.graph.builder.constant(f"{target}:initial", initial.numpy())
            states.append(State(target, given, result, key))
        return tuple(states)

    def _own(self, result: str, name: str, taken: set[str]) -> str:
        """
        A tensor that no other output is.
        """
        if result in taken:
            shape = self.graph.builder.tensors[result].fixed_shape
            result = self.graph.builder.add("reshape", [result], name, shape=shape)
        taken.add(result)
        return result

    def _output(self, name: str, node: torch.fx.Node) -> str:
        value, recorded = self.values[node], node.meta["val"]
        if not isinstance(recorded, torch.Tensor):
            raise UnsupportedError(self.origin.file, f"{name} is a number, no tensor")
        if isinstance(value, torch.Tensor):
            value = self.graph.computed(value)
        if not self.batch:
            return str(value.name)
        if not recorded.ndim or not self.batch.has(recorded.shape[0]) or value.dims[0] != 1:
            sizes = list(map(str, recorded.shape))
            text = f"{name} has the shape {quote(sizes)}: its first dimension must be the batch, as that of the inputs"
            raise UnsupportedError(self.origin.file, text)
        for axis, size in enumerate(recorded.shape):
            if axis and self.batch.has(size):
                text = f"{name}: dimension {axis} depends on the batch ({quote(str(size))}); only the first may"
                raise UnsupportedError(self.origin.file, text)
        return self.graph.builder.add("reshape", [value.name], name, shape=value.dims[1:])


def _needed(program: ExportedProgram) -> list[torch.fx.Node]:
    """
    The nodes that outputs depend on, in order.

    Without the checks that a program makes of its own values, and those of which only the size is asked for.
    """
    (last,) = (node for node in program.graph.nodes if node.op == "output")
    specs = program.graph_signature.output_specs
    found: set[torch.fx.Node] = set()
    waiting = [
        node
        for spec, node in zip(specs, last.args[0], strict=True)
        if spec.kind is not OutputKind.TOKEN and isinstance(node, torch.fx.Node)
    ]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [given for given in node.all_input_nodes if node.target not in SIZED or given != node.args[0]]
    return [node for node in program.graph.nodes if node in found]


def written(program: ExportedProgram) -> dict[str, torch.fx.Node]:
    """
    The buffers that a program without writes in place leaves changed, each with the node of its new value.
    """
    (last,) = (node for node in program.graph.nodes if node.op == "output")
    return {
        str(spec.target): node
        for spec, node in zip(program.graph_signature.output_specs, last.args[0], strict=True)
        if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION)
    }


def _finite(value: torch.Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _elements(recorded: Any) -> int:
    """
    How many elements a node's results have; of symbolic sizes, as if each were 1.
    """
    if isinstance(recorded, list | tuple):
        return sum(map(_elements, recorded))
    if not isinstance(recorded, torch.Tensor):
        return 0
    return math.prod(size for size in recorded.shape if isinstance(size, int))


def _holds_computed(values: Any) -> bool:
    if isinstance(values, dict):
        return _holds_computed(list(values.values()))
    if isinstance(values, list | tuple):
        return any(map(_holds_computed, values))
    return isinstance(values, Computed)
