"""
Small policies made on the spot, and predictors of them, without the verification that a build ends with.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from compiler import codegen, modelfile
from compiler.ir import BATCH, Attribute, Box, Discrete, DType, Model, Origin, Output, Policy
from compiler.loading import imported
from compiler.ops.builder import GraphBuilder
from compiler.options import BuildOptions
from compiler.pipeline import run_passes

Activation = str | tuple[str, Mapping[str, Attribute]]
"""The name of an element-wise op, `softmax`, `log_softmax` or nothing; with attributes where it needs them."""

HEADS = ("argmax", "softmax", "clip", "rescale")
"""Discrete actions by q-values or by probabilities; Box actions clipped, or squashed by tanh and rescaled."""


def policy(
    shape: Sequence[int] = (4,),
    hidden: Sequence[int] = (8,),
    outputs: int = 2,
    *,
    activations: Activation | list[Activation] = "tanh",
    head: str = "argmax",
    bounds: DTypeLike = np.float32,
    image: bool = False,
    names: Sequence[str] = (),
    file: str = "agent.zip",
    kind: str = "ActorCriticPolicy",
    action_shape: Sequence[int] = (),
    assumptions: Sequence[str] = (),
    seed: int = 0,
) -> Model:
    """
    A fully connected policy with random weights, as a frontend would have it.

    Args:
        shape: of one observation.
        hidden: the widths of the hidden layers.
        outputs: actions to choose from, or elements of a Box action.
        activations: after each hidden layer; one for all, or a list with one for each.
        head: one of `HEADS`.
        bounds: dtype of a Box action space; the bounds are wide here and narrow there.
        image: whether the observation space is one of images, whose values are divided by 255.
        names: of the linear layers; `layer.0`, ... if not given.
        file: the name of the source.
        kind: the policy class.
        action_shape: of a Box action; `(outputs,)` if not given.
        assumptions: what is said to be assumed.
        seed: for the weights.
    """
    rng = np.random.default_rng(seed)
    graph = GraphBuilder()
    result = graph.input("observation", DType.FLOAT32, (BATCH, *shape))
    if image:
        result = graph.add("divide", [result], "preprocess_obs", divisor=255.0)
    result = graph.add("flatten", [result], "features_extractor.flatten")
    names = names or [f"layer.{number}" for number in range(len(hidden) + 1)]
    each = activations if isinstance(activations, list) else [activations] * len(hidden)
    for number, width in enumerate([*hidden, outputs]):
        inputs = graph.tensors[result].elements
        weight = (rng.normal(size=(width, inputs)) * np.sqrt(2 / inputs)).astype(np.float32)
        constants = [
            graph.constant(f"{number}:{names[number]}.weight", weight),
            graph.constant(f"{number}:{names[number]}.bias", (rng.normal(size=width) * 0.1).astype(np.float32)),
        ]
        result = graph.add("linear", [result, *constants], names[number])
        if number < len(hidden) and each[number]:
            chosen = each[number]
            op, attributes = (chosen, {}) if isinstance(chosen, str) else chosen
            result = graph.add(op, [result], f"{names[number]}.{op}", **attributes)
    action, space = _head(graph, result, outputs, head, np.dtype(bounds), tuple(action_shape) or (outputs,), rng)
    dtype = DType.UINT8 if image else DType.FLOAT32
    limit = 255 if image else np.inf
    observations = Box(dtype, np.full(shape, 0 if image else -limit, dtype.numpy), np.full(shape, limit, dtype.numpy))
    scores = {"argmax": "q_values", "softmax": "logits"}.get(head, "mean_actions")
    return Model(
        name="agent",
        nodes=tuple(graph.nodes),
        tensors=graph.tensors,
        inputs=("observation",),
        outputs=(Output("action", action, "action"), Output(scores, result, "scores")),
        origin=Origin(file, "0" * 64, "sb3-zip", (), tuple(assumptions)),
        policy=Policy(kind, observations, space),
    )


def _head(
    graph: GraphBuilder,
    scores: str,
    outputs: int,
    head: str,
    dtype: "np.dtype[Any]",
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> tuple[str, Box | Discrete]:
    if head == "argmax":
        return graph.add("argmax", [scores], "action_dist.mode"), Discrete(outputs)
    if head == "softmax":
        probabilities = graph.add("softmax", [scores], "action_dist.probs")
        return graph.add("argmax", [probabilities], "action_dist.mode"), Discrete(outputs)
    high = rng.uniform(0.2, 2, size=outputs).astype(dtype)
    space = Box(DType(dtype.name), (-high * dtype.type(0.75)).reshape(shape), high.reshape(shape))
    bounds = [graph.constant("action_space.low", space.low.ravel()), graph.constant("action_space.high", high)]
    if head == "rescale":
        scores = graph.add("tanh", [scores], "action_dist.mode")
    return graph.add(head, [scores, *bounds], f"{head}_action"), space


def sources(
    model: Model, options: BuildOptions, name: str = "agent", packed_for: int | None = None
) -> dict[str, str | bytes]:
    """
    The files of a predictor, without a manifest; weights may be packed for wider registers than the kernels have.
    """
    compiled = run_passes(model, replace(options, lanes=packed_for or options.lanes))
    encoded = modelfile.encode(compiled)
    return {**codegen.render(compiled, encoded, options, name), "model.bin": encoded.data}


PLAIN = """
import numpy as np

kernel = inline = lambda function: function


def entry(*arguments, release_lock=True):
    return np.errstate(all="ignore")
"""
"""A `jit.py` that compiles nothing."""


def write(
    folder: Path,
    model: Model,
    options: BuildOptions | None = None,
    *,
    plain: bool = False,
    packed_for: int | None = None,
) -> Path:
    """
    A predictor as a package in a folder that is made for it, `folder` itself; with `plain`, one that is not compiled.
    """
    folder.mkdir(parents=True)
    files = sources(model, options or BuildOptions(), folder.name, packed_for) | ({"jit.py": PLAIN} if plain else {})
    for file, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        folder.joinpath(file).write_bytes(data)
    return folder


@contextmanager
def predictor(
    folder: Path,
    model: Model,
    options: BuildOptions | None = None,
    *,
    plain: bool = False,
    packed_for: int | None = None,
) -> Iterator[ModuleType]:
    """
    The same, imported.
    """
    with imported(write(folder, model, options, plain=plain, packed_for=packed_for)) as module:
        yield module


def observations(model: Model, count: int, seed: int = 1, scale: float = 1.0) -> np.ndarray:
    """
    Random observations for the one input of a policy, float32.
    """
    rng = np.random.default_rng(seed)
    shape = model.tensors[model.inputs[0]].fixed_shape
    space = model.policy and model.policy.observation_space
    if isinstance(space, Box) and space.is_image:
        return rng.integers(0, 256, (count, *shape)).astype(np.float32)
    return (rng.normal(size=(count, *shape)) * scale).astype(np.float32)
