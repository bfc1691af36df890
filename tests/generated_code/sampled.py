"""
Small policies that draw their actions in every way there is.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from compiler.ir import (
    ACTION_MASKS,
    EPISODE_STARTS,
    Box,
    Dict,
    Discrete,
    DType,
    Model,
    MultiBinary,
    MultiDiscrete,
    Output,
    Sampling,
    Tensor,
)
from tests.models import predictor
from tests.policies import NARROW, UNITS, WIDE, Sketch, masked, observing, recurrent

UNEVEN = Box(DType.FLOAT64, np.array([-1.0, 0.1, -300.0]), np.array([0.5, 0.3, 100.0]))
WHOLE = Box(DType.INT8, np.array([-100, 0, -3], np.int8), np.array([100, 1, 3], np.int8))
"""The difference of its first bounds is none that int8 can hold: NumPy's, and so SB3's, is -56."""
STD = np.array([0.1, 0.5, 2.0], np.float32)
GEAR = Dict((("gear", Discrete(5)), ("speed", WIDE)))
ROWS = 3
"""Different observations in a batch."""


def drawing(model: Model, kind: str, squash: bool = False, epsilon: float = 0.0) -> Model:
    """
    The same policy, which draws in this way.
    """
    assert model.policy is not None
    return replace(model, policy=replace(model.policy, sampling=Sampling(kind, squash, epsilon)))


def gaussian(model: Model, squash: bool = False, std: np.ndarray = STD) -> Model:
    """
    The same policy, which draws with constant standard deviations.
    """
    sketch = Sketch()
    name = sketch.graph.constant("log_std.exp", std)
    tensors = {**model.tensors, **sketch.graph.tensors}
    outputs = (*model.outputs, Output("std", name, "distribution"))
    return drawing(replace(model, tensors=tensors, outputs=outputs), "gaussian", squash)


def actor(space: Box = UNEVEN, noise: str = "std", squash: bool = True) -> Model:
    """
    A policy like SAC's: with computed standard deviations, or with those of gSDE's matrix, (features, actions).
    """
    sketch = Sketch(5)
    graph, count = sketch.graph, space.low.size
    latent = graph.add("tanh", [sketch.linear(sketch.observed(WIDE), "latent_pi", 8)], "latent_pi.tanh")
    mean = sketch.linear(latent, "mu", count)
    bounds = [graph.constant("low", space.low.ravel()), graph.constant("high", space.high.ravel())]
    chosen = graph.add("tanh", [mean], "mode") if squash else mean
    chosen = graph.add("rescale" if squash else "clip", [chosen, *bounds], "bounds")
    if noise == "std":
        logarithm = graph.add(
            "hardtanh", [sketch.linear(latent, "log_std", count)], "clamp", min_val=-20.0, max_val=2.0
        )
        outputs = [Output("std", graph.add("exp", [logarithm], "exp"), "distribution")]
    else:
        deviations = sketch.rng.uniform(0.02, 0.2, (8, count)).astype(np.float32)
        names = {"latent": latent, "noise_std": graph.constant("log_std.exp", deviations)}
        outputs = [Output(name, tensor, "distribution") for name, tensor in names.items()]
    model = sketch.model(WIDE, space, chosen, mean)
    kind = "gaussian" if noise == "std" else "state_dependent"
    return drawing(replace(model, outputs=(*model.outputs, *outputs)), kind, squash)


def recurrent_noise() -> Model:
    """
    A recurrent policy with gSDE's noise, whose latent is the state h of its last layer.
    """
    model = recurrent()
    deviations = Tensor.constant("log_std.exp", np.full((UNITS, 3), 0.5, np.float32))
    latent = Output("latent", model.states[-2].output, "distribution")
    outputs = (*model.outputs, latent, Output("noise_std", deviations.name, "distribution"))
    tensors = {**model.tensors, deviations.name: deviations}
    return drawing(replace(model, tensors=tensors, outputs=outputs), "state_dependent")


POLICIES = {
    "discrete": drawing(observing(WIDE, Discrete(5)), "categorical"),
    "one choice": drawing(observing(WIDE, Discrete(1)), "categorical"),
    "choices": drawing(observing(WIDE, MultiDiscrete((2, 3, 4))), "categorical"),
    "equal choices": drawing(observing(WIDE, MultiDiscrete((3, 3))), "categorical"),
    "dict": drawing(observing(GEAR, Discrete(3)), "categorical"),
    "masked": drawing(masked(Discrete(4)), "categorical"),
    "masked choices": drawing(masked(), "categorical"),
    "masked bits": drawing(masked(MultiBinary((3,))), "categorical"),
    "bits": drawing(observing(WIDE, MultiBinary((4,))), "bernoulli"),
    "clipped": gaussian(observing(WIDE, NARROW)),
    "squashed": actor(),
    "whole bounds": actor(WHOLE),
    "noise": actor(noise="noise_std"),
    "clipped noise": actor(NARROW, "noise_std", squash=False),
    "q_values": drawing(observing(WIDE, Discrete(4, start=3)), "epsilon_greedy", epsilon=0.25),
    "recurrent": gaussian(recurrent()),
    "recurrent noise": recurrent_noise(),
    "recurrent choice": drawing(recurrent(1, lambda: Discrete(3)), "categorical"),
}
"""A policy for each way in which an action is drawn, and each form that it has."""
SIZES = {
    "discrete": (5,),
    "one choice": (1,),
    "choices": (2, 3, 4),
    "equal choices": (3, 3),
    "dict": (3,),
    "masked": (4,),
    "masked choices": (2, 3, 4),
    "masked bits": (2, 2, 2),
    "recurrent choice": (3,),
}
"""Of those that draw from the softmax, the number of values of each choice."""


@contextmanager
def predictors(folder: Path) -> Iterator[dict[str, ModuleType]]:
    """
    The predictors of all POLICIES, not compiled.
    """
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(predictor(folder / name.replace(" ", "_"), model, plain=True))
            for name, model in POLICIES.items()
        }


def inputs(model: Model, count: int = 1, seed: int = 2) -> dict[str, np.ndarray]:
    """
    The inputs of ROWS observations, each `count` times, by the names of the model's tensors.
    """
    rng = np.random.default_rng(seed)
    values: dict[str, np.ndarray] = {}
    for name in (*model.inputs, *(state.input for state in model.states)):
        tensor = model.tensors[name]
        values[name] = rng.normal(size=(ROWS, *tensor.fixed_shape)).astype(np.float32)
        if name == ACTION_MASKS:
            values[name] = rng.random((ROWS, tensor.elements)) < 0.6
            values[name][0] = False
        elif name == EPISODE_STARTS:
            values[name] = np.array([1, 0, 0], np.float32)
        elif tensor.dtype == "int64":
            values[name] = rng.integers(0, 2, (ROWS, *tensor.fixed_shape))
    return {name: np.repeat(value, count, axis=0) for name, value in values.items()}


def arguments(model: Model, values: dict[str, np.ndarray], row: int | None = None) -> dict[str, Any]:
    """
    What `predict` takes for these inputs, or for one row of them.
    """
    assert model.policy is not None
    chosen = {name: value if row is None else value[row] for name, value in values.items()}
    parts = {name: chosen[name] for name, _ in model.policy.parts}
    is_dict = isinstance(model.policy.observation_space, Dict)
    found: dict[str, Any] = {
        "observation": {name.partition(".")[2]: part for name, part in parts.items()}
        if is_dict
        else next(iter(parts.values()))
    }
    if ACTION_MASKS in values:
        found["action_masks"] = chosen[ACTION_MASKS]
    if EPISODE_STARTS in values:
        found["episode_start"] = chosen[EPISODE_STARTS]
        states = [np.atleast_2d(chosen[state.input]) for state in model.states]
        found["state"] = np.stack(states[::2]), np.stack(states[1::2])
    return found
