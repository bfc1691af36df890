"""
A small policy, and a predictor of it in plain NumPy: what the pipeline is tested with where no kernel is needed.

`render` stands in for `compiler.codegen.render`. Its package is one readable file with the weights as literals, so that
a test breaks it by replacing text.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler import codegen, pipeline
from compiler.ir import BATCH, Box, Discrete, DType, Model, Origin, Output, Policy
from compiler.modelfile import EncodedModel
from compiler.ops.builder import GraphBuilder
from compiler.ops.dense import unpack
from compiler.options import BuildOptions
from compiler.pipeline import Build

QUICK = BuildOptions(verify_observations=20)

ACTIVATIONS = {
    "": "{0}",
    "tanh": "np.tanh({0})",
    "relu": "np.maximum({0}, 0)",
    "exp": "np.exp({0})",
    "hardtanh": "np.clip({0}, {min_val}, {max_val})",
}

HEAD = '''"""
A predictor for tests.
"""

import numpy as np

SPEC = {spec!r}
SHAPE = {shape!r}


def rows(observation):
    array = np.asarray(observation, dtype=np.float32)
    if array.shape != SHAPE and array.shape[1:] != SHAPE:
        raise ValueError(f"expected {{SHAPE}}, found {{array.shape}}")
    if {refuse!r} and not np.isfinite(array).all():
        raise ValueError("not finite")
    return array.reshape(-1, *SHAPE), array.shape == SHAPE


def compute(x):
    values = {{}}
'''

TAIL = """    return values


def predict(observation, state=None, episode_start=None, deterministic=True):
    x, single = rows(observation)
    with np.errstate(all="ignore"):
        action = compute(x)[{action!r}].reshape(len(x), *{action_shape!r})
    return (np.asarray(action[0]) if single else action), None


def act(observation):
    action = predict(observation)[0]
    return action.item() if {discrete!r} else action


def scores(observation):
    x, single = rows(observation)
    with np.errstate(all="ignore"):
        values = compute(x)[{scores!r}]
    return values[0] if single else values


def layers(observation):
    x, _ = rows(observation)
    with np.errstate(all="ignore"):
        return compute(x)
"""


def policy(*, discrete: bool = True, activation: str = "tanh", name: str = "agent") -> Model:
    """
    A policy with two layers of 8, a value network that no action needs, and random weights.
    """
    rng = np.random.default_rng(5)
    graph = GraphBuilder()
    graph.input("observation", DType.FLOAT32, (BATCH, 4))

    def linear(source: str, layer: str, inputs: int, outputs: int) -> str:
        weight = graph.constant(f"{layer}.weight", rng.normal(size=(outputs, inputs)).astype(np.float32))
        bias = graph.constant(f"{layer}.bias", rng.normal(size=outputs).astype(np.float32))
        return graph.add("linear", [source, weight, bias], layer)

    latent = graph.add(activation, [linear("observation", "pi.0", 4, 8)], "pi.1")
    latent = graph.add(activation, [linear(latent, "pi.2", 8, 8)], "pi.3")
    found = linear(latent, "action_net", 8, 3)
    value = linear(graph.add(activation, [linear("observation", "vf.0", 4, 8)], "vf.1"), "value_net", 8, 1)
    space: Box | Discrete = Discrete(3)
    if discrete:
        action = graph.add("argmax", [graph.add("softmax", [found], "probabilities")], "mode")
    else:
        space = Box(DType.FLOAT32, np.full(3, -2, np.float32), np.full(3, 2, np.float32))
        low, high = graph.constant("low", space.low), graph.constant("high", space.high)
        action = graph.add("clip", [found, low, high], "clip")
    return Model(
        name=name,
        nodes=tuple(graph.nodes),
        tensors=graph.tensors,
        inputs=("observation",),
        outputs=(
            Output("action", action, "action"),
            Output("logits", found, "scores"),
            Output("value", value, "value"),
        ),
        origin=Origin(f"{name}.zip", "0" * 64, "sb3-zip", (), ("the activation is Tanh",)),
        policy=Policy("ActorCriticPolicy", observation_space(), space),
    )


def observation_space() -> Box:
    """
    Two bounded elements, one without bounds, one bounded by float32's largest.
    """
    high = np.array([4.8, 0.5, np.inf, np.finfo(np.float32).max], np.float32)
    return Box(DType.FLOAT32, -high, high)


def render(model: Model, encoded: EncodedModel, options: BuildOptions, name: str) -> dict[str, str]:
    """
    The text of the package.
    """
    assert model.policy is not None
    action, scores = model.output("action"), model.output("scores")
    assert action is not None
    assert scores is not None
    box, space = model.policy.observation_space, model.policy.action_space
    assert isinstance(box, Box)
    lines = []
    for node in model.nodes:
        result = node.outputs[0]
        arguments = [f"values[{key!r}]" if key != model.inputs[0] else "x" for key in node.inputs]
        lines.append(f"    values[{result!r}] = {_expression(model, node.op, node.attributes, arguments, node.inputs)}")
    head = HEAD.format(spec={"name": name}, shape=box.shape, refuse=options.nonfinite == "raise")
    tail = TAIL.format(
        action=action.tensor,
        scores=scores.tensor,
        discrete=isinstance(space, Discrete),
        action_shape=space.shape if isinstance(space, Box) else (),
    )
    return {"__init__.py": head + "\n".join(lines) + "\n" + tail}


def _expression(model: Model, op: str, attributes: Any, arguments: list[str], inputs: tuple[str, ...]) -> str:
    def literal(array: Any) -> str:
        return f"np.array({array.tolist()!r}, np.{array.dtype.name})"

    if op == "flatten":
        return f"{arguments[0]}.reshape(len(x), -1)"
    if op in ACTIVATIONS:
        return ACTIVATIONS[op].format(arguments[0], **attributes)
    if op == "softmax":
        raised = f"np.exp({arguments[0]} - {arguments[0]}.max(axis=1, keepdims=True))"
        return f"{raised} / {raised}.sum(axis=1, keepdims=True)"
    if op == "argmax":
        return f"np.argmax({arguments[0]}, axis=1)"
    low, high = (np.asarray(model.tensors[name].data, np.float32) for name in inputs[1:])
    if op == "clip":
        return f"np.clip({arguments[0]}, {literal(low)}, {literal(high)})"
    if op == "rescale":
        return f"{literal(low)} + np.float32(0.5) * ({arguments[0]} + 1) * {literal(high - low)}"
    assert op == "dense", op
    width = model.tensors[inputs[0]].elements
    weight = unpack(low, attributes["layout"], width, attributes["outputs"])
    product = f"{arguments[0]} @ {literal(weight.T)} + {literal(high[: attributes['outputs']])}"
    return ACTIVATIONS[attributes["activation"]].format(product, **attributes)


def with_scaled(model: Model, constant: str, factor: float) -> Model:
    """
    The model with one of its constants multiplied.
    """
    tensor = model.tensors[constant]
    data = np.asarray(tensor.data, np.float32) * np.float32(factor)
    return replace(model, tensors={**model.tensors, constant: replace(tensor, data=data)})


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Lets `compiler.build` make predictors of this file, and measure them in no time.
    """
    monkeypatch.setattr(codegen, "render", render)
    monkeypatch.setattr(pipeline, "SHORTEST_RUN", 10_000)


def build(out: Path, model: Model | str | Path | None = None, **settings: Any) -> Build:
    """
    Builds this file's policy, or another source, with few observations.
    """
    return compiler.build(policy() if model is None else model, out=out, **{"options": QUICK, **settings})


def content(folder: Path) -> dict[str, bytes]:
    """
    Every file and folder under a folder, hidden ones included.
    """
    paths = sorted(folder.rglob("*"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"" for path in paths}
