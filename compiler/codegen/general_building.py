"""
How the view of a general predictor comes from its model: names, places, calls, and what the predictor says of itself.
"""

import hashlib
from collections.abc import Iterator, Mapping

from compiler.codegen.blocks import SLOT, BlockPlan, block_view
from compiler.codegen.body import passes, running
from compiler.codegen.calls import place
from compiler.codegen.division import Step, most_parts, multiply_adds, statements
from compiler.codegen.general import GeneralView
from compiler.codegen.general_array import GeneralArray, Memory
from compiler.codegen.general_kernels import takes_length
from compiler.codegen.lengths import PART, shape_text
from compiler.codegen.naming import comment, kernel_names, literal
from compiler.codegen.source import python
from compiler.codegen.workspace import Workspace, arguments_of, plan_workspace, stays
from compiler.errors import UnsupportedError, quote
from compiler.ir import BATCH, DType, Length, Model, Tensor
from compiler.modelfile import EncodedModel
from compiler.ops.indices import whole_numbers
from compiler.ops.lengths import length_of
from compiler.options import BuildOptions

VARIABLES = ("inputs", "weights", "work", "rows", "row", "results", "room", "blob", "first", "last", "arrays", "length")
BLOCKS = ("block", "blocks", SLOT)
CALLED = ("address", "advance", "align", "floats", "octets", "pointer", "skip", "workspace")
SHARED = ("following", "gate", "part", "parts")
"""What means something where one observation is divided."""
TAKEN = (*VARIABLES, *BLOCKS, *SHARED, *CALLED, *(f"{PART}{axis}" for axis in range(8)))
"""What has a meaning where inputs and outputs are variables."""
LOCAL = ("arguments", "found", "given", "lengths", "single", "status")
"""What has a meaning where outputs alone are variables: inputs have been read by then."""
GIVEN = {DType.FLOAT32: "float32", DType.INT64: "int64", DType.UINT8: "uint8", DType.BOOL: "bool"}
"""What callers give and get, by the dtype in the model."""


def general_view(
    model: Model,
    encoded: EncodedModel,
    digest: str,
    options: BuildOptions,
    lanes: int,
    name: str,
    functions: dict[str, str],
    blocks: BlockPlan | None = None,
    kernels: Mapping[str, str] | None = None,
    divided: frozenset[str] | None = None,
) -> GeneralView:
    """
    Everything about a general predictor but the texts of its kernels.

    Args:
        model: a model after all passes.
        encoded: its model file.
        digest: the model file's SHA-256.
        options: how to build.
        lanes: values in a register.
        name: the package's name.
        functions: the kernel's name for each node's first output.
        blocks: how batches are computed in blocks, if they are.
        kernels: the names of the kernels for a block, likewise.
        divided: the kernels that compute a part; None if one observation is computed by one thread.

    Raises:
        UnsupportedError: a dtype that callers can't give or get.
    """
    plan, length = plan_workspace(model), length_of(model)
    tensors = [model.tensors[key] for key in model.inputs]
    given, keys, memory_names = names_of(model)
    inputs = [_array(model, plan, encoded, t, key, t.name) for t, key in zip(tensors, given, strict=True)]
    results = [model.tensors[output.tensor] for output in model.outputs]
    labels = [output.name for output in model.outputs]
    left = [*zip(labels, results, strict=True), *((state.name, model.tensors[state.output]) for state in model.states)]
    for label, tensor in left:
        if tensor.dtype is DType.UINT8:
            raise UnsupportedError(model.origin.file, f"{quote(label)} is uint8; only inputs can be")
    outputs = [_array(model, plan, encoded, *one) for one in zip(results, keys, labels, strict=True)]
    if model.states and model.batched:
        raise UnsupportedError(model.origin.file, "has states and a batch: a model with states takes one observation")
    calls = _calls(model, encoded, plan, functions, divided or frozenset())
    steps, meetings = statements(calls, 0 if divided is None else 2)
    block = (
        block_view(model, encoded, blocks, functions, kernels or {}, inputs, outputs, divided or frozenset())
        if blocks
        else None
    )
    return GeneralView(
        name=name,
        lanes=lanes,
        source=comment(model.origin.file),
        spec=python(_specification(model, name, inputs, outputs)),
        inputs=inputs,
        outputs=outputs,
        memory=_memory(model, plan, encoded, memory_names),
        batched=model.batched,
        checks=options.nonfinite == "raise",
        workspace=plan.words,
        weights=encoded.blob_size // 4,
        weights_at=encoded.blob_offset,
        size=len(encoded.data),
        identity=_around(encoded),
        model_sha256=digest,
        steps=steps,
        meetings=meetings,
        most_parts=most_parts(model),
        work=sum(multiply_adds(model, node) for node in model.nodes),
        threads=options.threads,
        length=length,
        block=block,
    )


def _array(
    model: Model, plan: Workspace, encoded: EncodedModel, tensor: Tensor, variable: str, label: str
) -> GeneralArray:
    if tensor.dtype not in GIVEN:
        allowed = "float32, int64, uint8 and bool"
        raise UnsupportedError(model.origin.file, f"{quote(label)} is {tensor.dtype}; {allowed} can be")
    shape = tensor.fixed_shape
    sizes = tuple(map(running, shape))
    dimensions = f"{len(shape)} dimensions {shape_text(sizes)}" if shape else "a single value"
    text = f"{tensor.dtype}, {dimensions}" if len(shape) != 1 else f"{passes(sizes[0])} values, {tensor.dtype}"
    states = (state.input for state in model.states)
    least, most = 0, 0
    if tensor.dtype in (DType.INT64, DType.UINT8) and tensor.name in (*model.inputs, *states):
        least, most = whole_numbers(model, tensor.name)
        text = f"{text} from {least} to {most}"
    return GeneralArray(
        name=variable,
        label=literal(label),
        dtype=GIVEN[tensor.dtype],
        shape=shape_text(sizes),
        text=text,
        count=tensor.elements,
        place=_pointer(model, encoded, plan, tensor.name),
        sizes=shape,
        least=least,
        most=most,
    )


def names_of(model: Model) -> tuple[list[str], list[str], list[str]]:
    """
    The variables of the inputs, the outputs and the states, which kernels must not be named after.
    """
    inputs = kernel_names(model.inputs, TAKEN)
    outputs = kernel_names([output.name for output in model.outputs], [*TAKEN, *LOCAL, *inputs])
    states = kernel_names([state.name for state in model.states], [*TAKEN, *inputs, *outputs])
    return inputs, outputs, states


def _around(encoded: EncodedModel) -> str:
    end = encoded.blob_offset + encoded.blob_size
    return hashlib.sha256(encoded.data[: encoded.blob_offset] + encoded.data[end:]).hexdigest()


def _memory(model: Model, plan: Workspace, encoded: EncodedModel, names: list[str]) -> list[Memory]:
    found = []
    for state, name in zip(model.states, names, strict=True):
        before, after = (model.tensors[key] for key in (state.input, state.output))
        found.append(
            Memory(
                _array(model, plan, encoded, before, name, state.name),
                _array(model, plan, encoded, after, f"next_{name}", state.name),
                encoded.offsets[state.initial],
            )
        )
    return found


def _pointer(model: Model, encoded: EncodedModel, plan: Workspace, name: str) -> str:
    if name in encoded.offsets:
        return place("weights", encoded.offsets[name] // 4)
    return place("work", plan.slots[name].offset)


def _calls(
    model: Model, encoded: EncodedModel, plan: Workspace, functions: dict[str, str], divided: frozenset[str]
) -> Iterator[Step]:
    for node in model.nodes:
        if not stays(model, node):
            pointers = [_pointer(model, encoded, plan, name) for name in arguments_of(model, node)]
            first = ["length"] if takes_length(model, node) else []
            function = functions[node.outputs[0]]
            yield Step(function, [*first, *pointers], function in divided)


def _sizes(tensor: Tensor) -> tuple[int | str, ...]:
    """
    The shape of one observation for the specification: `length<=64` where it follows the length.
    """
    return tuple(str(size) if isinstance(size, Length) else size for size in tensor.fixed_shape)


def _specification(
    model: Model, name: str, inputs: list[GeneralArray], outputs: list[GeneralArray]
) -> dict[str, object]:
    origin, length = model.origin, length_of(model)
    tensors = [[model.tensors[key] for key in model.inputs], [model.tensors[o.tensor] for o in model.outputs]]
    labels = [list(model.inputs), [output.name for output in model.outputs]]
    given, results = (
        [
            {"name": label, "shape": ((BATCH,) if model.batched else ()) + _sizes(tensor), "dtype": array.dtype}
            for label, tensor, array in zip(names, group, arrays, strict=True)
        ]
        for names, group, arrays in zip(labels, tensors, (inputs, outputs), strict=True)
    )
    states = [
        {"name": state.name, "shape": model.tensors[state.input].fixed_shape, "dtype": "float32"}
        for state in model.states
    ]
    return {
        "name": name,
        "inputs": given,
        "outputs": results,
        **({"length": {"name": length.name, "least": length.least, "most": length.most}} if length else {}),
        **({"states": states} if states else {}),
        "source": {"file": origin.file, "sha256": origin.sha256, "format": origin.format},
        "assumed": list(origin.assumptions),
    }
