"""
Graphs written by hand for the tests of passes.
"""

import numpy as np

from compiler.check import check
from compiler.ir import BATCH, Discrete, DType, Model, Origin, Output, Policy
from compiler.ops import Array
from compiler.ops.builder import GraphBuilder
from compiler.options import BuildOptions
from compiler.passes import Pass
from tests.stand_in import observation_space

RAISE, PROPAGATE = BuildOptions(), BuildOptions(nonfinite="propagate")


class Graph(GraphBuilder):
    """
    A builder with one input `x` of four features.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input("x", DType.FLOAT32, (BATCH, 4))
        self.rng = np.random.default_rng(0)

    def linear(self, source: str, name: str, outputs: int) -> str:
        shape = outputs, self.tensors[source].elements
        weight = self.constant(f"{name}.weight", self.rng.normal(size=shape).astype(np.float32))
        return self.add("linear", [source, weight, self.bias(f"{name}.bias", outputs)], name)

    def bias(self, name: str, size: int) -> str:
        return self.constant(name, self.rng.normal(size=size).astype(np.float32))

    def model(self, *outputs: tuple[str, str], policy: bool = True, inputs: tuple[str, ...] = ("x",)) -> Model:
        """
        The model with these inputs and outputs, (tensor, role) each, named after their roles.
        """
        return Model(
            name="agent",
            nodes=tuple(self.nodes),
            tensors=self.tensors,
            inputs=inputs,
            outputs=tuple(Output(role, tensor, role) for tensor, role in outputs),
            origin=Origin("agent.zip", "0" * 64, "sb3-zip"),
            policy=Policy("ActorCriticPolicy", observation_space(), Discrete(2)) if policy else None,
        )


def apply(transform: Pass, model: Model, options: BuildOptions = RAISE) -> Model:
    """
    The result of a pass, which must be legal, and the same when the pass is applied again.
    """
    before = str(model)
    result = check(transform(check(model, "before"), options), transform.__name__)
    assert str(model) == before, "a pass must not change its argument"
    assert transform(result, options) == result
    return result


def graph_of(model: Model) -> str:
    """
    The text of a model without its policy.
    """
    lines = str(model).splitlines()
    return "\n".join(line.strip() for line in lines if not line.startswith(("model", "  policy", "  obs", "  action")))


def data_of(model: Model, name: str) -> Array:
    """
    The values of a constant.
    """
    data = model.tensors[name].data
    assert data is not None
    return data
