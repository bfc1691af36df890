"""
A TorchScript archive to a model: executed once with example inputs, while torch records what is computed.

Control flow is followed with these inputs, and is not in the model. Buffers that `forward` overwrites become states: a
function is recorded that takes them as arguments, and returns them.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx

from compiler.errors import BuildError, CheckpointError, UnsupportedError, quote
from compiler.frontends.operations import Inventory
from compiler.frontends.source import Ask
from compiler.frontends.torch_export.listing import inventory
from compiler.frontends.torch_export.program import translate
from compiler.frontends.torch_export.quiet import quietly
from compiler.frontends.torch_export.remembered import beginning
from compiler.ir import Model, Origin, Output, State, Tensor
from compiler.ops import Array
from compiler.options import BuildOptions

FORMAT = "torch-script"
DTYPES = {"float32": torch.float32, "int64": torch.int64, "uint8": torch.uint8, "bool": torch.bool}
NUMBERS = frozenset((torch.ops.aten.item.default, torch.ops.aten.is_nonzero.default))
"""Ops that take a number out of a tensor, as int(), float() and `if` do."""
MARK = "<--- HERE"
"""Behind what TorchScript marks under a line."""
BRANCHING = (
    "takes a number out of a tensor (int(), float(), .item(), if, while) that depends on its inputs, and the example's "
    "would stay: choose with torch.where instead of if, and keep it a tensor"
)
Step = Callable[..., tuple[torch.Tensor, ...]]


def read(data: memoryview, path: Path, options: BuildOptions) -> tuple[Model, Ask]:
    """
    The model of an archive, and what torch answers: for inputs and states, outputs and the states after them.

    Raises:
        BuildError: the example shapes can't be read.
        CheckpointError: the file is damaged.
        UnsupportedError: it can't be compiled.
    """
    module = _loaded(data, str(path))
    program, step, initial = _recorded(module, str(path), options)
    origin = Origin(path.name, hashlib.sha256(data).hexdigest(), FORMAT, (("torch", str(torch.__version__)),))
    model = translate(program, path.stem, origin, allow_nonfinite=options.allow_nonfinite_weights)
    return _named(_with_states(model, initial), module), _asking(step)


def operations(data: memoryview, path: Path, options: BuildOptions) -> Inventory:
    """
    The operations that are recorded of an archive.
    """
    program, _, _ = _recorded(_loaded(data, str(path)), str(path), options)
    return inventory(program, str(path), FORMAT)


def _recorded(module: Any, where: str, options: BuildOptions) -> tuple[ExportedProgram, Step, dict[str, torch.Tensor]]:
    """
    What the archive computes, as a program and as a function, and the buffers that are states, as they are before.
    """
    examples = _examples(str(options.example_shapes))
    before = _overwritten(module, examples, where)
    initial = {name: beginning(name, value, where) for name, value in before.items()}
    step = _stepping(module, {name: value.dtype for name, value in before.items()})
    arguments = [*examples, *(value.clone() for value in initial.values())]
    # What oneDNN computes in one piece, such as an LSTM, is recorded as the operations that it is made of.
    with quietly(), torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), torch.jit.optimized_execution(False):
        try:
            # Traced modules compute with their sizes as with tensors: numbers may be taken out of these.
            recorded = make_fx(step, pre_dispatch=True, _error_on_data_dependent_ops=False)(*arguments)
            _drop_numbers(recorded.graph, where)
            program = torch.export.export(recorded, tuple(value.clone() for value in arguments))
            return program, step, initial
        except UnsupportedError:
            raise
        except Exception as error:  # whatever the module's own code raises
            text = f"torch can't record what it computes: {type(error).__name__}: {quote(_reason(error), 600)}"
            raise UnsupportedError(where, text) from error


def _drop_numbers(graph: torch.fx.Graph, where: str) -> None:
    """
    Removes what has taken numbers out of tensors while a graph was recorded: they are in the graph as they were then.

    Raises:
        UnsupportedError: one of them depends on an input or a state.
    """
    given: set[torch.fx.Node] = set()
    taken = []
    for node in graph.nodes:
        if node.op == "placeholder" or not given.isdisjoint(node.all_input_nodes):
            given.add(node)
        if isinstance(node.target, torch._ops.OpOverload) and (
            node.target in NUMBERS or torch.Tag.data_dependent_output in node.target.tags
        ):
            taken.append(node)
    if not given.isdisjoint(taken):
        raise UnsupportedError(where, BRANCHING)
    for node in reversed(taken):
        if not node.users:
            graph.erase_node(node)


def _reason(error: Exception) -> str:
    """
    What TorchScript's interpreter says of an error: the line of the user's code, marked in a listing, and the cause.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    marked = [lines[place - 1] for place, line in enumerate(lines) if place and line.endswith(MARK)]
    return ": ".join(dict.fromkeys([*marked[-1:], *lines[-1:]]))


def _examples(shapes: str) -> list[torch.Tensor]:
    """
    Zeros of the shapes that the user names: `1,41` or `1,20:int64;1,5`.
    """
    found = []
    for text in shapes.split(";"):
        sizes, _, dtype = text.strip().partition(":")
        try:
            shape = [int(size) for size in sizes.split(",")]
        except ValueError:
            shape = [0]
        if min(shape) < 1 or (dtype or "float32") not in DTYPES:
            expected = f"expected sizes like 1,41, and {', '.join(DTYPES)} after a colon"
            raise BuildError("example_shapes", f"{expected}; found {quote(text)}")
        found.append(torch.zeros(shape, dtype=DTYPES[dtype or "float32"]))
    return found


def _loaded(data: memoryview, where: str) -> Any:
    try:
        with quietly():
            return torch.jit.load(io.BytesIO(bytes(data)), map_location="cpu").eval()
    except Exception as error:  # whatever torch makes of a damaged file
        text = f"torch {torch.__version__} can't load it: {type(error).__name__}: {quote(str(error), 300)}"
        raise CheckpointError(where, text) from error


def _overwritten(module: Any, examples: Sequence[torch.Tensor], where: str) -> dict[str, torch.Tensor]:
    """
    The buffers that `forward` overwrites, as they are before.
    """
    before = {name: value.detach().clone() for name, value in module.named_buffers()}
    versions = {name: value._version for name, value in module.named_buffers()}
    kept = {name: value.data_ptr() for name, value in module.named_buffers()}
    with torch.no_grad(), quietly():
        try:
            module(*examples)
        except Exception as error:  # whatever the module's own code raises
            text = f"does not take inputs of these shapes: {type(error).__name__}: {quote(str(error), 300)}"
            raise UnsupportedError(where, text) from error
    found = {
        name: before[name]
        for name, value in module.named_buffers()
        if value._version != versions[name] or value.data_ptr() != kept[name]
    }
    for name, value in module.named_buffers():
        if name in found and value.shape == found[name].shape:
            value.detach().copy_(found[name])
    return found


def _stepping(module: Any, kinds: dict[str, torch.dtype]) -> Step:
    """
    One call as a function: of the inputs and states, to the outputs and the states after it.

    Args:
        module: the archive's.
        kinds: the names of the buffers that are states, which are float32 outside, with their dtypes.
    """

    def holder(name: str) -> tuple[Any, str]:
        *parts, last = name.split(".")
        place = module
        for part in parts:
            place = getattr(place, part)
        return place, last

    def step(*arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        inputs = arguments[: len(arguments) - len(kinds)]
        places = [holder(name) for name in kinds]
        before = [getattr(place, last) for place, last in places]
        try:
            for (place, last), value, kind in zip(places, arguments[len(inputs) :], kinds.values(), strict=True):
                setattr(place, last, value.to(kind, copy=True))
            found = module(*inputs)
            results = found if isinstance(found, tuple | list) else (found,)
            return (*results, *(getattr(place, last).to(torch.float32) for place, last in places))
        finally:
            for (place, last), value in zip(places, before, strict=True):
                setattr(place, last, value)

    return step


def _with_states(model: Model, initial: dict[str, torch.Tensor]) -> Model:
    """
    The model with its last inputs and outputs as states.
    """
    if not initial:
        return model
    count, tensors, states = len(initial), dict(model.tensors), []
    for (name, value), taken, left in zip(initial.items(), model.inputs[-count:], model.outputs[-count:], strict=True):
        key = f"{name}:initial"
        tensors[key] = Tensor.constant(key, value.numpy())
        states.append(State(name, taken, left.tensor, key))
    outputs = model.outputs[:-count]
    if len(outputs) == 1:
        outputs = (Output("output", outputs[0].tensor, outputs[0].role),)
    return replace(model, tensors=tensors, inputs=model.inputs[:-count], outputs=outputs, states=tuple(states))


def _named(model: Model, module: Any) -> Model:
    """
    The model whose inputs have the names that `forward` gives its arguments, which recording does not keep.
    """
    names = [argument.name for argument in module.forward.schema.arguments[1:]]
    wanted = dict(zip(model.inputs, names, strict=False))
    new = {old: name for old, name in wanted.items() if name not in model.tensors}

    def renamed(keys: Sequence[str]) -> tuple[str, ...]:
        return tuple(new.get(key, key) for key in keys)

    tensors = [replace(tensor, name=new.get(key, key)) for key, tensor in model.tensors.items()]
    return replace(
        model,
        nodes=tuple(replace(node, inputs=renamed(node.inputs)) for node in model.nodes),
        tensors={tensor.name: tensor for tensor in tensors},
        inputs=renamed(model.inputs),
        outputs=tuple(replace(output, tensor=new.get(output.tensor, output.tensor)) for output in model.outputs),
        states=tuple(replace(state, output=new.get(state.output, state.output)) for state in model.states),
    )


def _asking(step: Step) -> Ask:
    def ask(inputs: Sequence[Array]) -> list[Array]:
        answers = []
        for row in range(len(inputs[0])):
            with torch.no_grad(), quietly():
                found = step(*(torch.tensor(array[row]) for array in inputs))
            answers.append([value.numpy().copy() for value in found])
        return [np.stack(each) for each in zip(*answers, strict=True)]

    return ask
