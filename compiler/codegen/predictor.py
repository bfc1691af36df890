"""
The flat view of a whole predictor: constants, calls and texts that the package's templates put in place.
"""

import math
from dataclasses import dataclass, field

from compiler.codegen.kernels import times
from compiler.codegen.memory import WORDS, MemoryPlan, plan_memory
from compiler.codegen.naming import BLOCK, comment, literal
from compiler.codegen.source import call, python
from compiler.errors import BuildError, UnsupportedError
from compiler.ir import Box, Discrete, DType, Model, Node, Output, Policy, Tensor
from compiler.modelfile import EncodedModel
from compiler.ops import OPS
from compiler.ops.dense import COLUMNS
from compiler.options import BuildOptions

STACK = 16384
"""float32 words of workspace that an entry point takes from the stack; more comes from the heap."""
PARALLEL_WORK = 10_000_000
"""Multiply-adds from which on a batch is split over threads: about 100 microseconds of one thread."""
CHUNK_WORK = 1_000_000
"""Multiply-adds that are worth a thread's while."""


LONG_WORK = 100_000
"""Multiply-adds from which on a single observation is worth releasing the interpreter lock: about 2 microseconds."""
STORES = {DType.FLOAT32: "store_scalar", DType.FLOAT64: "store_double", DType.INT64: "store_integer"}


@dataclass(frozen=True)
class ResultView:
    """
    A result of the kernels: where it stands in the workspace and how it leaves it.
    """

    name: str
    """For a docstring."""
    dtype: str
    count: int
    """Values per observation."""
    one: str
    """The pointer to it, for one observation."""
    block: str
    """The pointer to it, for a block."""
    load: str
    """The word that reads a value of it."""
    store: str
    """The word that writes a value to the caller."""

    def index(self, row: str, i: str) -> str:
        """
        Where value `i` of observation `row` stands in the caller's array.
        """
        return f"{row.strip('()')} + {i}" if self.count == 1 else f"{row} * {self.count} + {i}"


@dataclass(frozen=True)
class ValueView:
    """
    A value that `layers` shows: its name as a literal, its place in the workspace.
    """

    name: str
    offset: int
    count: int
    dtype: str


@dataclass(frozen=True)
class PredictorView:
    """
    What the templates of the package see.
    """

    name: str
    source: str
    spec: str
    features: int
    observation_shape: str
    action_shape: str
    action: ResultView
    score: ResultView
    discrete: bool
    checks: bool
    """Whether observations and scores that are not finite are refused."""
    workspace: int
    weights: int
    least_block: int
    threads_from: int
    chunk: int
    steps: list[str]
    block_steps: list[str]
    values: list[ValueView]
    model_sha256: str
    weights_at: int
    image: bool
    action_vector: bool
    """Whether an action has one dimension."""
    flat: bool
    """Whether an observation has one dimension, so that `act` can pass it on as it is."""
    long: bool
    """Whether one observation takes long enough to let other Python threads run meanwhile."""
    sampled: bool
    """Whether the policy could also sample its action."""
    words: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)

    @property
    def on_stack(self) -> bool:
        """
        Whether the workspace for one observation comes from the stack.
        """
        return self.workspace <= STACK


def predictor_view(
    model: Model, encoded: EncodedModel, digest: str, options: BuildOptions, name: str, functions: dict[str, str]
) -> PredictorView:
    """
    Everything about a predictor but the texts of its kernels.

    Args:
        model: a policy after all passes.
        encoded: its model file.
        digest: the model file's SHA-256.
        options: how to build.
        name: the package's name.
        functions: the kernel's name for each node's first output.

    Raises:
        UnsupportedError: if the model is not a policy with one action.
    """
    policy, action, score = _interface(model)
    plan = plan_memory(model, options.lanes)
    steps = _steps(model, encoded, plan, functions, options.lanes)
    work = sum(OPS[n.op].multiply_adds([model.tensors[i] for i in n.inputs], n.attributes) for n in model.nodes)
    chunk = -(-CHUNK_WORK // max(work, 1) // options.lanes) * options.lanes
    features = model.tensors[model.inputs[0]].elements
    box = policy.observation_space
    assert isinstance(box, Box)
    return PredictorView(
        name=name,
        source=comment(model.origin.file),
        spec=python(_spec(model, policy, name, score)),
        features=features,
        observation_shape=str(box.shape),
        action_shape=str(_action_shape(policy)),
        action=_result(model, plan, action),
        score=_result(model, plan, score),
        discrete=isinstance(policy.action_space, Discrete),
        checks=options.nonfinite == "raise",
        workspace=plan.words,
        weights=encoded.blob_size // 4,
        least_block=min(options.lanes, max(2, options.lanes * 5 // 8)),
        threads_from=max(2 * chunk, PARALLEL_WORK // max(work, 1)),
        chunk=chunk,
        steps=[one for one, _ in steps],
        block_steps=[block for _, block in steps],
        values=_values(model, plan),
        model_sha256=digest,
        weights_at=encoded.blob_offset,
        image=box.is_image,
        flat=len(box.shape) == 1,
        action_vector=len(_action_shape(policy)) == 1,
        long=work >= LONG_WORK,
        sampled=policy.kind not in ("TD3Policy",),
    )


def _interface(model: Model) -> tuple[Policy, Output, Output]:
    action, score = model.output("action"), model.output("scores")
    policy = model.policy
    if policy is None or action is None or score is None or len(model.inputs) != 1:
        raise UnsupportedError(model.origin.file, "is not a policy with one observation, one action and its scores")
    spaces = {"observation": policy.observation_space, "action": policy.action_space}
    if not isinstance(spaces["observation"], Box) or not isinstance(spaces["action"], Box | Discrete):
        kinds = ", ".join(f"{role} {type(space).__name__}" for role, space in spaces.items())
        raise UnsupportedError(
            model.origin.file, f"observations must be Box and actions Box or Discrete, found {kinds}"
        )
    if model.states:
        raise UnsupportedError(model.origin.file, "recurrent models have no predictor yet")
    findings = _misfits(model, policy, action, score)
    if findings:
        raise UnsupportedError(model.origin.file, *findings)
    return policy, action, score


def _misfits(model: Model, policy: Policy, action: Output, score: Output) -> list[str]:
    """
    How the spaces and the tensors disagree in a model that a frontend would not make.
    """
    observed, acted, scored = (model.tensors[name] for name in (model.inputs[0], action.tensor, score.tensor))
    findings = []
    box, space = policy.observation_space, policy.action_space
    if isinstance(box, Box) and (observed.dtype is not DType.FLOAT32 or observed.shape[1:] != box.shape):
        findings.append(f"the observation must be float32 of shape {box.shape}, found {_type(observed)}")
    if isinstance(space, Discrete):
        fits = acted.dtype is DType.INT64 and len(acted.shape) == 1 and model.producer(acted.name) is not None
    else:
        count = math.prod(_action_shape(policy))
        fits = acted.dtype in (DType.FLOAT32, DType.FLOAT64) and acted.fixed_shape == (count,)
    if not fits:
        findings.append(f"the action does not fit its space, {type(space).__name__}: found {_type(acted)}")
    if scored.dtype is not DType.FLOAT32 or len(scored.fixed_shape) != 1:
        findings.append(f"the scores must be float32 of shape (batch, n), found {_type(scored)}")
    return findings


def _type(tensor: Tensor) -> str:
    return f"{tensor.dtype}[{', '.join(map(str, tensor.shape))}]"


def _steps(
    model: Model, encoded: EncodedModel, plan: MemoryPlan, functions: dict[str, str], lanes: int
) -> list[tuple[str, str]]:
    """
    The calls that compute the model, for one observation and for a block.
    """
    steps = []
    direct = _reads_input_directly(model)
    observed = _aliases_of_input(model)
    if not direct:
        count, room = model.tensors[model.inputs[0]].elements, plan.slots[model.inputs[0]].words
        steps.append((f"stage(observation, {count}, {room}, work)", ""))
    for node in model.nodes:
        if node.op == "flatten":
            continue
        one, block = [], []
        for name in node.inputs:
            if model.tensors[name].data is not None:
                pointer = _advance("weights", encoded.offsets[name] // 4)
                one.append(pointer)
                block.append(pointer)
            else:
                offset = plan.slots[name].offset
                one.append("observation" if direct and name in observed else _advance("work", offset))
                block.append(_advance("work", offset, "LANES"))
        offset = plan.slots[node.outputs[0]].offset
        function = functions[node.outputs[0]]
        one.append(_advance("work", offset))
        block.append(_advance("work", offset, "LANES"))
        steps.append((call(function, one), call(function + BLOCK, block)))
    return steps


def _reads_input_directly(model: Model) -> bool:
    """
    Whether all kernels that read the observation read just its values, and no register of padding after them.
    """
    observed = _aliases_of_input(model)
    readers = [node for node in model.nodes if observed.intersection(node.inputs) and node.op != "flatten"]
    copied = any(model.is_result(name) for name in observed)
    return not copied and all(node.op == "dense" and node.attributes["layout"] == COLUMNS for node in readers)


def _aliases_of_input(model: Model) -> set[str]:
    names = set(model.inputs)
    for node in model.nodes:
        if node.op == "flatten" and node.inputs[0] in names:
            names.add(node.outputs[0])
    return names


def _advance(base: str, offset: int, factor: str = "") -> str:
    if offset == 0:
        return base
    return f"advance({base}, {times(str(offset), factor) if factor else offset})"


def _result(model: Model, plan: MemoryPlan, output: Output) -> ResultView:
    tensor, offset = model.tensors[output.tensor], plan.slots[output.tensor].offset
    return ResultView(
        name=comment(output.name),
        dtype=str(tensor.dtype),
        count=tensor.elements,
        one=_advance("work", offset),
        block=_advance("work", offset, "LANES"),
        load="load_double" if tensor.dtype is DType.FLOAT64 else "load_scalar",
        store=STORES[tensor.dtype],
    )


def _values(model: Model, plan: MemoryPlan) -> list[ValueView]:
    return [_value(model, plan, node) for node in model.nodes if node.op != "flatten"]


def _value(model: Model, plan: MemoryPlan, node: Node) -> ValueView:
    tensor = model.tensors[node.outputs[0]]
    dtype = "float64" if WORDS[tensor.dtype] == 2 else "float32"
    return ValueView(literal(tensor.name), plan.slots[tensor.name].offset, tensor.elements, dtype)


def _action_shape(policy: Policy) -> tuple[int, ...]:
    return policy.action_space.shape if isinstance(policy.action_space, Box) else ()


def _spec(model: Model, policy: Policy, name: str, score: Output) -> dict[str, object]:
    observation, origin = policy.observation_space, model.origin
    assert isinstance(observation, Box)
    return {
        "name": name,
        "policy": policy.kind,
        "observation": {"kind": "Box", "shape": observation.shape, "dtype": str(observation.dtype)},
        "action": _action_spec(policy),
        "scores": {"name": score.name, "count": model.tensors[score.tensor].elements},
        "source": {"file": origin.file, "sha256": origin.sha256, "format": origin.format},
        "assumed": list(origin.assumptions),
    }


def _action_spec(policy: Policy) -> dict[str, object]:
    match policy.action_space:
        case Discrete(n=n):
            return {"kind": "Discrete", "n": n}
        case Box() as box:
            bounds = {"low": box.low.ravel().tolist(), "high": box.high.ravel().tolist()}
            return {"kind": "Box", "shape": box.shape, "dtype": str(box.dtype), **bounds}
        case other:
            raise BuildError("codegen", f"no action space {type(other).__name__}")
