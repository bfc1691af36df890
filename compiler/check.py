"""
What makes a model legal. Runs after the frontend, after every pass and after a model file is read.
"""

import math
import re
from collections.abc import Iterator
from itertools import islice

from compiler.errors import ModelFileError, PolicycError, quote
from compiler.ir import (
    ROLES,
    SAMPLINGS,
    Attribute,
    Box,
    Dict,
    Discrete,
    Length,
    Model,
    MultiBinary,
    MultiDiscrete,
    Node,
    Sampling,
    Space,
)
from compiler.ops import OPS, TensorType
from compiler.ops.lengths import at_length, follows, length_of, samples, unfit

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
"""What a length may be called."""
MAXIMUM_RANK = 8
MAXIMUM_ELEMENTS = 1 << 31
MAXIMUM_CHOICES = 1 << 24
"""Choices of a discrete space: predictors keep an index as float32."""
LISTED = 50
"""At most so many findings are listed: a file with 100,000 faults should not fill the terminal."""


def check(model: Model, stage: str) -> Model:
    """
    The model itself, if it is legal.

    Args:
        model: any model, however it was made.
        stage: what made it, for the message: a frontend, a pass, a file.

    Raises:
        ModelFileError: naming every rule that it breaks.
    """
    findings = _listed(_length_findings(model)) or _listed(_tensor_findings(model))
    length = length_of(model)
    if length is None or findings:
        findings = findings or _listed(_findings_between(model))
    else:
        findings = _listed(_findings_at_lengths(model, length))
    if findings:
        raise ModelFileError(stage, *findings)
    return model


def _length_findings(model: Model) -> Iterator[str]:
    """
    What is wrong with sizes that follow a length: there is one length, of sensible bounds, in general models alone.
    """
    known: Length | None = None
    for name, tensor in model.tensors.items():
        for size in tensor.shape:
            if isinstance(size, Length):
                known = known or size
                yield from _bound_findings(size, known, f"tensor {quote(name)}", 1)
    for node in model.nodes:
        for value in node.attributes.values():
            for size in _lengths_in(value):
                known = known or size
                yield from _bound_findings(size, known, f"an attribute of node {quote(node.name)}", 0)
    if known is not None and not NAME.fullmatch(known.name):
        yield f"the length is called {quote(known.name)}: must be a name of letters, digits and underscores"
    if known is not None and (model.policy is not None or model.states):
        yield "a size follows a length: only models that are no policies and have no states may have that"
    if known is not None and length_of(model) is None:
        yield "an attribute follows a length, but no tensor does"
    given = [model.tensors[name] for name in model.inputs if name in model.tensors]
    if length_of(model) is not None and not any(follows(tensor.shape) for tensor in given):
        yield "a size follows a length that no input has"


def _lengths_in(value: Attribute) -> list[Length]:
    values = value if isinstance(value, tuple) else (value,)
    return [size for size in values if isinstance(size, Length)]


def _bound_findings(size: Length, known: Length, what: str, smallest: int) -> Iterator[str]:
    if size.bounds != known.bounds:
        yield f"{what} follows {size}, but another size {known}: there may be one length only"
    if not 1 <= size.least < size.most <= MAXIMUM_ELEMENTS or size.at(size.least) < smallest:
        yield f"{what} follows {size} from {size.least} to {size.most}: must be from 1 or more to more than that"


def _findings_at_lengths(model: Model, length: Length) -> Iterator[str]:
    """
    What is wrong with a model whose sizes follow a length: at some lengths, and with what its ops can do.
    """
    for each in samples(length):
        found = [*_findings_between(at_length(model, each))]
        yield from (f"where {quote(length.name)} is {each}: {finding}" for finding in found)
        if found:
            return
    yield from (f"node {quote(node.name)}: {finding}" for node, finding in unfit(model))


def _listed(findings: Iterator[str]) -> list[str]:
    """
    The first findings, and a last one that says so if there are more.
    """
    listed = [*islice(findings, LISTED)]
    return [*listed, "and more"] if next(findings, None) is not None else listed


def _findings_between(model: Model) -> Iterator[str]:
    """
    What is wrong between tensors that are each legal.
    """
    yield from _interface_findings(model)
    yield from _graph_findings(model)
    if model.policy is not None:
        yield from _space_findings("observation space", model.policy.observation_space)
        yield from _space_findings("action space", model.policy.action_space)
        yield from _sampling_findings(model.policy.sampling)


def _sampling_findings(sampling: Sampling | None) -> Iterator[str]:
    if sampling is None:
        return
    if sampling.kind not in SAMPLINGS:
        yield f"the policy draws its action in the unknown way {quote(sampling.kind)}"
    if not 0 <= sampling.epsilon <= 1:
        yield f"the probability of a random action is {sampling.epsilon}, which is not between 0 and 1"


def _space_findings(where: str, space: Space) -> Iterator[str]:
    match space:
        case Box():
            if space.high.shape != space.low.shape or {space.low.dtype, space.high.dtype} != {space.dtype.numpy}:
                yield f"{where}: the bounds of the Box must have one shape and its dtype, {space.dtype}"
        case Discrete():
            if not 1 <= space.n <= MAXIMUM_CHOICES:
                yield f"{where}: Discrete must have 1 to {MAXIMUM_CHOICES} choices, found {space.n}"
        case MultiDiscrete():
            if not space.nvec or min(space.nvec) < 1 or sum(space.nvec) > MAXIMUM_CHOICES:
                yield f"{where}: MultiDiscrete must have choices, 1 or more each, {MAXIMUM_CHOICES} at most together"
            if space.start and len(space.start) != len(space.nvec):
                yield f"{where}: MultiDiscrete has {len(space.nvec)} choices, but {len(space.start)} starts"
        case MultiBinary():
            if min(space.shape, default=1) < 1 or math.prod(space.shape) > MAXIMUM_CHOICES:
                yield f"{where}: MultiBinary must have 1 to {MAXIMUM_CHOICES} bits, found shape {space.shape}"
        case Dict():
            keys = [key for key, _ in space.spaces]
            if len(set(keys)) != len(keys):
                yield f"{where}: a key of the Dict is there twice"
            for key, part in space.spaces:
                yield from _space_findings(f"{where} {quote(key)}", part)


def _tensor_findings(model: Model) -> Iterator[str]:
    for name, tensor in model.tensors.items():
        if name != tensor.name:
            yield f"tensor {quote(name)} is declared as {quote(tensor.name)}"
        if len(tensor.shape) > MAXIMUM_RANK:
            yield f"tensor {quote(name)} has {len(tensor.shape)} dimensions; at most {MAXIMUM_RANK} are allowed"
        elif any(isinstance(size, int) and size < 1 for size in tensor.shape):
            yield f"tensor {quote(name)} has shape {tensor.shape}; every dimension must be at least 1"
        elif math.prod(tensor.fixed_shape) > MAXIMUM_ELEMENTS:
            yield f"tensor {quote(name)} has shape {tensor.shape}: too large"
        if tensor.data is not None and (
            tensor.data.shape != tuple(int(size) if isinstance(size, Length) else size for size in tensor.shape)
            or tensor.data.dtype != tensor.dtype.numpy
        ):
            yield (
                f"tensor {quote(name)} is declared {tensor.dtype}{tensor.shape}, "
                f"its data are {tensor.data.dtype}{tensor.data.shape}"
            )


def _interface_findings(model: Model) -> Iterator[str]:
    used = [*model.inputs, *(output.tensor for output in model.outputs)]
    for state in model.states:
        used += [state.input, state.output, state.initial]
    for name in used:
        if name not in model.tensors:
            yield f"tensor {quote(name)} is used as input, output or state but is not declared"
    for name in model.inputs:
        if name in model.tensors and model.tensors[name].data is not None:
            yield f"input {quote(name)} is a constant"
    if not model.outputs:
        yield "the model has no output"
    for output in model.outputs:
        if output.role not in ROLES:
            yield f"output {quote(output.name)} has the unknown role {quote(output.role)}"
    for kind, names in (("outputs", [o.name for o in model.outputs]), ("states", [s.name for s in model.states])):
        if len(set(names)) != len(names):
            yield f"two {kind} have the same name"
    for state in model.states:
        initial = model.tensors.get(state.initial)
        if initial is not None and initial.data is None:
            yield f"state {quote(state.name)}: the initial value {quote(state.initial)} is not a constant"
    if len(set(model.inputs)) != len(model.inputs):
        yield "two inputs are the same tensor"


def _graph_findings(model: Model) -> Iterator[str]:
    known = {tensor.name for tensor in model.constants()} | set(model.inputs)
    known |= {state.input for state in model.states}
    for node in model.nodes:
        yield from _node_findings(model, node, known)
        for name in node.outputs:
            if name in known:
                yield f"node {quote(node.name)} computes {quote(name)}, which has a value already"
            known.add(name)
    for name in model.tensors:
        if name not in known:
            yield f"tensor {quote(name)} is neither given nor constant nor computed"
    for output in model.outputs:
        if output.tensor in model.tensors and output.tensor not in known:
            yield f"output {quote(output.name)} is never computed"
    for state in model.states:
        if state.output in model.tensors and state.output not in known:
            yield f"state {quote(state.name)} is never computed"


def _node_findings(model: Model, node: Node, known: set[str]) -> Iterator[str]:
    op = OPS.get(node.op)
    if op is None:
        yield f"node {quote(node.name)} has the unknown op {quote(node.op)}"
        return
    undeclared = [name for name in (*node.inputs, *node.outputs) if name not in model.tensors]
    if undeclared:
        yield f"node {quote(node.name)} uses undeclared tensors: {', '.join(map(quote, undeclared))}"
        return
    for name in node.inputs:
        if name not in known:
            yield f"node {quote(node.name)} reads {quote(name)} before it is computed"
    try:
        inferred = op.infer([model.tensors[name] for name in node.inputs], node.attributes)
    except PolicycError as error:
        yield f"node {quote(node.name)}: {'; '.join(error.findings)}"
        return
    declared = [TensorType.of(model.tensors[name]) for name in node.outputs]
    if inferred != declared:
        yield f"node {quote(node.name)} ({node.op}) gives {_types(inferred)}, declared are {_types(declared)}"


def _types(types: list[TensorType]) -> str:
    return ", ".join(f"{kind.dtype}{list(kind.shape)}" for kind in types)
