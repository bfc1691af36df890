"""
Small models that are no policies, with every dtype, with states, with and without a batch; and what is asked of them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import compiler
from compiler.frontends.lengths import all_lengths
from compiler.ir import BATCH, DType, Length, Model, Origin, Output, State
from compiler.ops import Array
from compiler.ops.builder import GraphBuilder
from compiler.ops.indices import whole_numbers
from compiler.ops.reference import evaluate

ORIGIN = Origin("model.pt2", "0" * 64, "torch-export")
WORDS = 9


def mixed(
    name: str = "mixed",
    inputs: tuple[str, str, str] = ("double", "count", "weights"),
    results: tuple[str, str, str] = ("scores", "int", "room"),
) -> Model:
    """
    An image, whole numbers and flags to float32, int64 and bool: with names that mean something else in C and Python.
    """
    rng = np.random.default_rng(1)
    graph = GraphBuilder()
    image = graph.input(inputs[0], DType.FLOAT32, (BATCH, 2, 3))
    words = graph.input(inputs[1], DType.INT64, (BATCH, 4))
    flags = graph.input(inputs[2], DType.BOOL, (BATCH, 3))
    table = graph.constant("table", rng.normal(size=(WORDS, 3)).astype(np.float32))
    looked = graph.add("reduce_sum", [graph.add("embedding", [words, table], "look")], "sum", axes=(0,), keep=True)
    scores = graph.add("plus", [image, looked], "network")
    chosen = graph.add("index_of_max", [scores], "infer", axis=1, keep=False)
    above = graph.add("greater", [scores, graph.constant("zero", np.zeros((), np.float32))], "above")
    kept = graph.add("both", [above, graph.add("reshape", [flags], "flat", shape=(1, 3))], "kept")
    outputs = tuple(Output(*each) for each in zip(results, (scores, chosen, kept), strict=True))
    return Model(name, tuple(graph.nodes), graph.tensors, inputs, outputs, ORIGIN)


def wide() -> Model:
    """
    Exactly one observation of two dimensions; more is computed than the stack has room for.
    """
    rng = np.random.default_rng(2)
    graph = GraphBuilder()
    source = graph.input("x", DType.FLOAT32, (BATCH, 300, 100))
    weight, bias = (graph.constant(n, rng.normal(size=s).astype(np.float32)) for n, s in (("w", (40, 100)), ("b", 40)))
    hidden = graph.add("tanh", [graph.add("linear_over", [source, weight, bias], "layer")], "tanh")
    result = graph.add("reduce_sum", [hidden], "sum", axes=(0,), keep=False)
    return Model("wide", tuple(graph.nodes), graph.tensors, ("x",), (Output("y", result),), ORIGIN, batched=False)


def counter() -> Model:
    """
    Adds up what it is given, beginning at one.
    """
    graph = GraphBuilder()
    given = graph.input("x", DType.FLOAT32, (BATCH, 2))
    before = graph.input("sum", DType.FLOAT32, (BATCH, 2))
    graph.constant("one", np.ones(2, np.float32))
    after = graph.add("plus", [before, given], "after")
    doubled = graph.add("plus", [after, after], "doubled")
    states = (State("total", before, after, "one"),)
    outputs = (Output("y", doubled),)
    return Model("counter", tuple(graph.nodes), graph.tensors, ("x",), outputs, ORIGIN, states, batched=False)


def camera() -> Model:
    """
    An image and letters, both bytes: a convolution of the pixels, and rows of a table for the letters.
    """
    rng = np.random.default_rng(4)
    graph = GraphBuilder()
    frame = graph.input("frame", DType.UINT8, (BATCH, 1, 2, 6, 5))
    letters = graph.input("letters", DType.UINT8, (BATCH, 4))
    filters, bias, table = (
        graph.constant(name, rng.normal(size=shape).astype(np.float32))
        for name, shape in (("filters", (3, 2, 3, 3)), ("bias", (3,)), ("table", (WORDS, 3)))
    )
    scale = graph.constant("scale", np.full((), 1 / 255, np.float32))
    whole, indices = (graph.add("cast", [given], f"{given}:int64", dtype="int64") for given in (frame, letters))
    pixels = graph.add("times", [graph.add("cast", [whole], "float", dtype="float32"), scale], "pixels")
    seen = graph.add("relu", [graph.add("conv", [pixels, filters, bias], "conv", stride=(2, 1))], "seen")
    means = graph.add("reduce_mean", [seen], "means", axes=(0, 2, 3), keep=False)
    read = graph.add("reduce_sum", [graph.add("embedding", [indices, table], "look")], "read", axes=(0,), keep=False)
    outputs = (
        Output("scores", graph.add("plus", [means, read], "both")),
        Output("light", graph.add("reduce_sum", [whole], "light", axes=(0, 1, 2, 3), keep=False)),
    )
    return Model("camera", tuple(graph.nodes), graph.tensors, ("frame", "letters"), outputs, ORIGIN)


def sentences() -> Model:
    """
    Sequences of 2 to 20 steps in every dtype, some with a step more, to outputs that follow them and one that does not.
    """

    def at(length: int) -> tuple[Model, dict[str, str]]:
        rng = np.random.default_rng(3)
        graph = GraphBuilder()
        steps = graph.input("length", DType.FLOAT32, (BATCH, length, 3))  # a name that means something else
        words = graph.input("words", DType.INT64, (BATCH, length))
        flags = graph.input("flags", DType.BOOL, (BATCH, length + 1))
        table = graph.constant("table", rng.normal(size=(WORDS, 3)).astype(np.float32))
        shifted = graph.add("plus", [steps, graph.add("embedding", [words, table], "look")], "shifted")
        weights = [
            graph.constant(name, rng.normal(size=shape).astype(np.float32))
            for name, shape in (("state", (1, 4)), ("new", (12, 3)), ("kept", (12, 4)), ("bias", 12), ("kept_bias", 12))
        ]
        rows = graph.add("reshape", [shifted], "rows", shape=(length, 1, 3))
        hidden = graph.add_all("gru", [rows, *weights], "memory", reverse=False)
        tags = graph.add("reshape", [hidden[0]], "tags", shape=(length, 4))
        best = graph.add("index_of_max", [tags], "best", axis=1, keep=False)
        kept = graph.add("not", [flags], "kept")
        ends = graph.add("reduce_max", [tags], "ends", axes=(0,), keep=False)
        results = (("scores", tags), ("best", best), ("kept", kept), ("ends", ends))
        outputs = tuple(Output(*each) for each in results)
        names = ("length", "words", "flags")
        return Model("sentences", tuple(graph.nodes), graph.tensors, names, outputs, ORIGIN), {}

    return all_lengths(at, Length("steps", 2, 20))


MODELS: Mapping[str, Callable[[], Model]] = {"mixed": mixed, "wide": wide, "counter": counter, "camera": camera}


def inputs_of(model: Model, rows: int, seed: int = 0) -> list[Array]:
    """
    Random inputs, with the batch in front.
    """
    rng = np.random.default_rng(seed)
    makers: Mapping[DType, Callable[[tuple[int, ...], int], Array]] = {
        DType.FLOAT32: lambda shape, most: np.asarray(rng.normal(size=shape), np.float32),
        DType.INT64: lambda shape, most: rng.integers(0, WORDS, shape),
        DType.UINT8: lambda shape, most: rng.integers(0, most + 1, shape).astype(np.uint8),
        DType.BOOL: lambda shape, most: rng.integers(0, 2, shape).astype(bool),
    }
    found = []
    for name in model.inputs:
        tensor = model.tensors[name]
        most = whole_numbers(model, name)[1] if tensor.dtype is DType.UINT8 else 0
        found.append(makers[tensor.dtype]((rows, *tensor.fixed_shape), most))
    return found


def expected_of(model: Model, inputs: list[Array]) -> list[Array]:
    """
    What the reference gives, of a model without states.
    """
    values = evaluate(model, dict(zip(model.inputs, inputs, strict=True)))
    return [values[output.tensor] for output in model.outputs]


def assert_alike(found: Any, expected: list[Array]) -> None:
    """
    Floats are as near as float32 allows, whole numbers and truth values are the same; so are shapes and dtypes.
    """
    for one, right in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
        assert one.shape == right.shape
        assert one.dtype == (np.float32 if right.dtype.kind == "f" else right.dtype)
        np.testing.assert_allclose(one, right, rtol=1e-5, atol=1e-5)


def built(model: Model, folder: Path, **choices: Any) -> compiler.Build:
    """
    The verified result of a build, of a model's own name.
    """
    return compiler.build(model, out=folder, name=model.name, **choices)
