"""
Small policies that draw their actions in every way there is.
"""

from dataclasses import replace

import numpy as np

from compiler.ir import Box, Dict, Discrete, DType, Model, MultiBinary, MultiDiscrete, Output, Sampling
from tests.policies import NARROW, WIDE, Sketch, masked, observing, recurrent

UNEVEN = Box(DType.FLOAT64, np.array([-1.0, 0.1, -300.0]), np.array([0.5, 0.3, 100.0]))
WHOLE = Box(DType.INT8, np.array([-100, 0, -3], np.int8), np.array([100, 1, 3], np.int8))
"""The difference of its first bounds is none that int8 can hold: NumPy's, and so SB3's, is -56."""
STD = np.array([0.1, 0.5, 2.0], np.float32)
NOISY = Dict((("gear", Discrete(5)), ("speed", WIDE)))


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
        deviations = sketch.rng.uniform(0.1, 1, (8, count)).astype(np.float32)
        names = {"latent": latent, "noise_std": graph.constant("log_std.exp", deviations)}
        outputs = [Output(name, tensor, "distribution") for name, tensor in names.items()]
    model = sketch.model(WIDE, space, chosen, mean)
    kind = "gaussian" if noise == "std" else "state_dependent"
    return drawing(replace(model, outputs=(*model.outputs, *outputs)), kind, squash)


POLICIES = {
    "discrete": drawing(observing(WIDE, Discrete(5)), "categorical"),
    "one choice": drawing(observing(WIDE, Discrete(1)), "categorical"),
    "choices": drawing(observing(WIDE, MultiDiscrete((2, 3, 4))), "categorical"),
    "equal choices": drawing(observing(WIDE, MultiDiscrete((3, 3))), "categorical"),
    "dict": drawing(observing(NOISY, Discrete(3)), "categorical"),
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
    "recurrent choice": drawing(recurrent(1, lambda: Discrete(3)), "categorical"),
}
"""A policy for each way in which an action is drawn, and each form that it has."""
