"""
Small policies of every kind of input and action, with random weights: written down node by node, as frontends do.
"""

from collections.abc import Callable

import numpy as np

from compiler.ir import (
    ACTION_MASKS,
    BATCH,
    EPISODE_STARTS,
    Box,
    Dict,
    Discrete,
    DType,
    Model,
    MultiBinary,
    MultiDiscrete,
    Origin,
    Output,
    Policy,
    Space,
    State,
)
from compiler.ops.builder import GraphBuilder

UNITS = 6
NARROW = Box(DType.FLOAT32, np.full(3, -2, np.float32), np.full(3, 2, np.float32))
WIDE = Box(DType.FLOAT32, np.full(4, -np.inf, np.float32), np.full(4, np.inf, np.float32))
IMAGE = Box(DType.UINT8, np.zeros((1, 8, 9), np.uint8), np.full((1, 8, 9), 255, np.uint8))
PARTS = Dict(
    (
        ("camera", IMAGE),
        ("gear", Discrete(5)),
        ("switches", MultiBinary((2, 2))),
        ("dials", MultiDiscrete((3, 4))),
        ("speed", WIDE),
    )
)


class Sketch:
    """
    A graph under construction with constants of a fixed seed.
    """

    def __init__(self, seed: int = 3) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = GraphBuilder()

    def linear(self, source: str, name: str, outputs: int) -> str:
        inputs = self.graph.tensors[source].elements
        weight = self.rng.normal(size=(outputs, inputs)) * np.sqrt(2 / inputs)
        constants = [
            self.graph.constant(f"{name}.weight", weight.astype(np.float32)),
            self.graph.constant(f"{name}.bias", self.rng.normal(size=outputs).astype(np.float32)),
        ]
        return self.graph.add("linear", [source, *constants], name)

    def features(self, name: str, space: Space) -> str:
        """
        What SB3's extractors make of one part of an observation.
        """
        match space:
            case Discrete(n=n):
                source = self.graph.input(name, DType.INT64, (BATCH,))
                return self.graph.add("one_hot", [source], f"{name}.one_hot", sizes=(n,))
            case MultiDiscrete(nvec=nvec):
                source = self.graph.input(name, DType.INT64, (BATCH, len(nvec)))
                return self.graph.add("one_hot", [source], f"{name}.one_hot", sizes=nvec)
            case Box() if space.is_image:
                source = self.graph.input(name, DType.FLOAT32, (BATCH, *space.shape))
                source = self.graph.add("divide", [source], f"{name}.divide", divisor=255.0)
                weight = self.graph.constant(f"{name}.w", self.rng.normal(size=(4, 1, 3, 3)).astype(np.float32))
                bias = self.graph.constant(f"{name}.b", self.rng.normal(size=4).astype(np.float32))
                source = self.graph.add("conv2d", [source, weight, bias], f"{name}.conv", stride=(2, 2))
                source = self.graph.add("relu", [source], f"{name}.relu")
            case Box() | MultiBinary():
                source = self.graph.input(name, DType.FLOAT32, (BATCH, *space.shape))
            case _:
                raise AssertionError(space)
        return self.graph.add("flatten", [source], f"{name}.flatten")

    def observed(self, space: Space) -> str:
        """
        All features of an observation, side by side.
        """
        parts = Policy("", space, space).parts
        features = [self.features(name, part) for name, part in parts]
        return features[0] if len(features) == 1 else self.graph.add("concat", features, "features")

    def model(
        self, observed: Space, action: Space, chosen: str, scores: str, states: tuple[State, ...] = (), value: str = ""
    ) -> Model:
        extra = tuple(name for name in (ACTION_MASKS, EPISODE_STARTS) if name in self.graph.tensors)
        policy = Policy("ActorCriticPolicy", observed, action)
        outputs = [Output("action", chosen, "action"), Output("logits", scores, "scores")]
        if value:
            outputs.append(Output("value", value, "value"))
        return Model(
            name="agent",
            nodes=tuple(self.graph.nodes),
            tensors=self.graph.tensors,
            inputs=(*(name for name, _ in policy.parts), *extra),
            outputs=tuple(outputs),
            origin=Origin("agent.zip", "0" * 64, "sb3-zip"),
            states=states,
            policy=policy,
        )


def observing(space: Space, action: Space | None = None, activation: str = "tanh") -> Model:
    """
    A policy that sees a space: two layers, and the head of its action space, one of three choices if none is given.
    """
    sketch = Sketch()
    action = action or Discrete(3)
    latent = sketch.graph.add(activation, [sketch.linear(sketch.observed(space), "pi", 8)], "pi.tanh")
    value = sketch.linear(latent, "value_net", 1)
    match action:
        case Discrete(n=n):
            scores = sketch.linear(latent, "action_net", n)
            chosen = sketch.graph.add("argmax", [scores], "mode")
        case MultiDiscrete(nvec=nvec):
            scores = sketch.linear(latent, "action_net", sum(nvec))
            chosen = sketch.graph.add("argmax", [scores], "mode", sizes=nvec)
        case MultiBinary(shape=(size,)):
            scores = sketch.linear(latent, "action_net", size)
            chosen = sketch.graph.add("bernoulli_mode", [scores], "mode")
        case _:
            scores = sketch.linear(latent, "action_net", 3)
            bounds = [sketch.graph.constant("low", NARROW.low), sketch.graph.constant("high", NARROW.high)]
            chosen = sketch.graph.add("clip", [scores, *bounds], "clip")
    return sketch.model(space, action, chosen, scores, value=value)


def masked(action: Space | None = None, scale: float = 1.0) -> Model:
    """
    A policy that takes masks, for choices of 2, 3 and 4 unless an action space is given.
    """
    sketch = Sketch()
    action = action or MultiDiscrete((2, 3, 4))
    sizes = (2,) * action.shape[0] if isinstance(action, MultiBinary) else getattr(action, "nvec", ())
    total = sum(sizes) or getattr(action, "n", 0)
    latent = sketch.graph.add("tanh", [sketch.linear(sketch.observed(WIDE), "pi", 8)], "pi.tanh")
    scores = sketch.linear(latent, "action_net", total)
    if scale != 1:
        scores = sketch.graph.add("divide", [scores], "large", divisor=1 / scale)
    masks = sketch.graph.input(ACTION_MASKS, DType.BOOL, (BATCH, total))
    logits = sketch.graph.add("log_softmax", [scores], "logits", sizes=sizes)
    logits = sketch.graph.add("mask", [logits, masks], "masked")
    logits = sketch.graph.add("softmax", [logits], "probabilities", sizes=sizes)
    return sketch.model(WIDE, action, sketch.graph.add("argmax", [logits], "mode", sizes=sizes), scores)


def recurrent(layers: int = 2, action: Callable[[], Space] = lambda: NARROW) -> Model:
    """
    A policy with LSTM layers.
    """
    sketch = Sketch()
    graph, space = sketch.graph, action()
    latent = sketch.observed(WIDE)
    starts = graph.input(EPISODE_STARTS, DType.FLOAT32, (BATCH,))
    states = []
    for layer in range(layers):
        names = [f"h.{layer}", f"c.{layer}"]
        hidden, cell = (graph.input(f"state {name}", DType.FLOAT32, (BATCH, UNITS)) for name in names)
        hidden, cell = (graph.add("reset", [part, starts], f"reset {part}") for part in (hidden, cell))
        gates = [sketch.linear(part, f"{layer}.{part}", 4 * UNITS) for part in (latent, hidden)]
        both = graph.add("add", gates, f"gates {layer}")
        cell = graph.add("lstm_cell", [both, cell], f"cell {layer}")
        latent = graph.add("lstm_hidden", [both, cell], f"hidden {layer}")
        zeros = graph.constant(f"zeros {layer}", np.zeros(UNITS, np.float32))
        states += [State(n, f"state {n}", out, zeros) for n, out in zip(names, (latent, cell), strict=True)]
    scores = sketch.linear(latent, "action_net", 3)
    if isinstance(space, Discrete):
        return sketch.model(WIDE, space, graph.add("argmax", [scores], "mode"), scores, tuple(states))
    bounds = [graph.constant("low", NARROW.low), graph.constant("high", NARROW.high)]
    return sketch.model(WIDE, space, graph.add("clip", [scores, *bounds], "clip"), scores, tuple(states))


def normalised() -> Model:
    """
    A policy of observations that VecNormalize's statistics are applied to, one of three choices.
    """
    sketch = Sketch()
    graph, (size,) = sketch.graph, WIDE.shape
    source = graph.input("observation", DType.FLOAT64, (BATCH, size))
    statistics = [
        graph.constant("vecnormalize.mean", sketch.rng.normal(size=size)),
        graph.constant("vecnormalize.deviation", sketch.rng.uniform(0.5, 2, size=size)),
    ]
    source = graph.add("normalize", [source, *statistics], "vecnormalize", clip=10.0)
    latent = graph.add("tanh", [sketch.linear(source, "pi", 8)], "pi.tanh")
    scores = sketch.linear(latent, "action_net", 3)
    return sketch.model(WIDE, Discrete(3), graph.add("argmax", [scores], "mode"), scores)
