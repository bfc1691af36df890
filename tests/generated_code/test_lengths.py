"""
Kernels of sequences whose length is known at run time only, against the reference of the model of each length.

They run uncompiled, and all memory that they have not written holds NaN or numbers that mean nothing: what stands
behind the end of a sequence must reach no result.
"""

import importlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.check import check
from compiler.codegen.element_kernels import BINARY, UNARY
from compiler.frontends.lengths import all_lengths
from compiler.ir import BATCH, DType, Length, Model, Origin, Output
from compiler.ops import OPS
from compiler.ops.builder import GraphBuilder
from compiler.ops.lengths import FOLLOWING, at_length
from compiler.ops.reference import evaluate
from compiler.options import BuildOptions
from compiler.passes import PIPELINE
from tests.models import predictor, write

LEAST, MOST = 3, 21
RNG = np.random.default_rng(0)
WEIGHTS = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in (
    ("table", (9, 5)), ("linear", (7, 6)), ("bias", (7,)), ("right", (6, 3)), ("norm", (6,)), ("shift", (6,)),
    ("wide", (21, 6)), ("gates", (20, 6)), ("recurrent", (20, 5)), ("gate_bias", (20,)), ("state", (1, 5)),
    ("new", (15, 6)), ("kept", (15, 5)), ("new_bias", (15,)), ("kept_bias", (15,)),
    ("plain", (5, 6)), ("loop", (5, 5)), ("plain_bias", (5,)), ("filters", (4, 3, 1, 3)), ("filter_bias", (4,)),
    ("by_channel", (4, 1, 1)), ("other", (7,)),
    ("down", (2, 6, 3, 1)), ("down_bias", (2,)), ("groups", (3,)), ("group_bias", (3,)),
)}  # fmt: skip


class Sketch:
    """
    The model of one length: what is added is an output as well.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.graph = GraphBuilder()
        self.outputs: list[str] = []
        self.inputs = {
            "steps": self.given("steps", DType.FLOAT32, length, 6),
            "channels": self.given("channels", DType.FLOAT32, 1, 3, 1, length),
            "heads": self.given("heads", DType.FLOAT32, 2, length, 4),
            "words": self.given("words", DType.INT64, length),
            "flags": self.given("flags", DType.BOOL, length),
            "pairs": self.given("pairs", DType.FLOAT32, length, length),
        }

    def given(self, name: str, dtype: DType, *dims: int) -> str:
        return self.graph.input(name, dtype, (BATCH, *dims))

    def constant(self, name: str) -> str:
        return name if name in self.graph.tensors else self.graph.constant(name, WEIGHTS[name])

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        found = self.graph.add_all(op, list(inputs), f"{op}_{len(self.outputs)}", **attributes)
        self.outputs += found
        return found[0]

    def between(self, op: str, *inputs: str, **attributes: Any) -> str:
        """
        What is no output, so that passes can make it part of something else.
        """
        return self.graph.add(op, list(inputs), f"{op}_between", **attributes)

    def model(self) -> Model:
        outputs = tuple(Output(f"output_{place}", name) for place, name in enumerate(self.outputs))
        origin = Origin("sketch", "0" * 64, "test")
        return Model("sketch", tuple(self.graph.nodes), self.graph.tensors, tuple(self.inputs), outputs, origin)


def elements(s: Sketch) -> None:
    steps, pairs = s.inputs["steps"], s.inputs["pairs"]
    s.add("tanh", steps)
    s.add("absolute", pairs)
    s.add("plus", steps, s.constant("shift"))
    row = s.add("reshape", s.add("cast", s.inputs["flags"], dtype="float32"), shape=(s.length, 1))
    s.add("times", steps, row)
    s.add("plus", pairs, s.add("reshape", row, shape=(1, s.length)))
    s.add("where", s.add("reshape", s.inputs["flags"], shape=(s.length, 1)), steps, s.add("negate", steps))
    places = s.graph.constant("places", np.arange(s.length, dtype=np.float32)[:, None])
    s.add("plus", steps, places)


def arranged(s: Sketch) -> None:
    steps, heads, pairs = s.inputs["steps"], s.inputs["heads"], s.inputs["pairs"]
    n = s.length
    s.add("permute", steps, order=(1, 0))
    s.add("permute", heads, order=(1, 0, 2))
    s.add("permute", pairs, order=(1, 0))
    s.add("reshape", s.add("permute", heads, order=(1, 0, 2)), shape=(n, 8))
    s.add("reshape", steps, shape=(1, n, 2, 3))
    s.add("slice", steps, axis=0, start=n - 1, stop=n, step=1)
    s.add("slice", heads, axis=1, start=n - 3, stop=n - 1, step=1)
    s.add("slice", steps, axis=0, start=1, stop=n, step=1)
    s.add("slice", steps, axis=0, start=0, stop=n - 1, step=1)
    s.add("slice", pairs, axis=1, start=2, stop=n, step=1)
    s.add("slice", steps, axis=0, start=0, stop=3, step=2)
    s.add("flip", steps, axes=(0,))
    s.add("flip", pairs, axes=(0, 1))
    s.add("flip", heads, axes=(2,))
    first = s.add("slice", steps, axis=0, start=0, stop=1, step=1)
    s.add("join", first, steps, s.constant("wide"), axis=0)
    s.add("join", s.add("slice", pairs, axis=1, start=0, stop=2, step=1), pairs, axis=1)
    s.add("join", steps, steps, axis=1)
    s.add("surround", steps, before=(2, 0), after=(3, 1), value=1.5)
    s.add("surround", pairs, before=(1, 1), after=(2, 2), value=-1.0)
    s.add("expand", s.add("reshape", steps, shape=(1, n, 6)), shape=(2, n, 6))
    s.add("expand", s.add("reduce_mean", steps, axes=(0,), keep=True), shape=(n, 6))
    s.add("embedding", s.inputs["words"], s.constant("table"))
    s.add("take", steps, s.graph.constant("order", np.array([4, 0, 1])), axis=1)
    s.add("gather", heads, s.add("cast", s.add("times", heads, heads), dtype="int64"), axis=2)


def folded(s: Sketch) -> None:
    steps, heads, pairs, channels = (s.inputs[name] for name in ("steps", "heads", "pairs", "channels"))
    for op in ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_product"):
        s.add(op, steps, axes=(0,), keep=False)
        s.add(op, channels, axes=(3,), keep=True)
    s.add("reduce_mean", steps, axes=(0, 1), keep=False)
    s.add("reduce_mean", pairs, axes=(0, 1), keep=False)
    s.add("reduce_max", steps, axes=(1,), keep=False)
    s.add("reduce_sum", heads, axes=(0, 1), keep=False)
    s.add("reduce_sum", heads, axes=(0, 2), keep=False)
    s.add("reduce_any", s.inputs["flags"], axes=(0,), keep=False)
    s.add("reduce_all", s.inputs["flags"], axes=(0,), keep=False)
    s.add("index_of_max", steps, axis=0, keep=False)
    s.add("index_of_min", pairs, axis=1, keep=True)
    s.add("index_of_max", steps, axis=1, keep=False)
    s.add("running_sum", steps, axis=0)
    s.add("running_sum", pairs, axis=1)
    for op in ("softmax_over", "log_softmax_over"):
        s.add(op, steps, axis=0)
        s.add(op, pairs, axis=1)
        s.add(op, steps, axis=1)
        s.add(op, channels, axis=3)
    s.add("layer_norm", steps, s.constant("norm"), s.constant("shift"), count=1)
    s.add("rms_norm", steps, s.constant("norm"), count=1, epsilon=1e-5)


def products(s: Sketch) -> None:
    steps, heads, pairs = s.inputs["steps"], s.inputs["heads"], s.inputs["pairs"]
    s.add("linear_over", steps, s.constant("linear"), s.constant("bias"))
    s.add("matmul", steps, s.constant("right"))
    s.add("matmul", s.add("permute", steps, order=(1, 0)), steps)
    s.add("matmul", pairs, steps)
    s.add("matmul", heads, s.add("permute", heads, order=(0, 2, 1)))
    s.add("attention", heads, heads, heads, scale=0.5, causal=False)
    s.add("attention", heads, heads, heads, scale=0.5, causal=True)
    turned = s.add("permute", heads, order=(0, 2, 1))
    s.add("attention", heads, turned, heads, scale=0.5, causal=False, turned=True)
    s.add("attention", heads, turned, heads, scale=0.5, causal=True, turned=True)
    mask = s.add("reshape", pairs, shape=(1, s.length, s.length))
    s.add("attention", heads, heads, heads, mask, scale=0.5, causal=False)
    query = s.add("slice", heads, axis=1, start=0, stop=1, step=1)
    keys = s.add("reshape", s.add("cast", s.inputs["flags"], dtype="float32"), shape=(1, 1, s.length))
    s.add("attention", query, heads, heads, keys, scale=0.5, causal=False)
    s.add("attention", heads, query, query, scale=0.5, causal=False)
    s.add("matmul", steps, s.add("permute", steps, order=(1, 0)))


def stepped(s: Sketch) -> None:
    steps = s.add("reshape", s.inputs["steps"], shape=(s.length, 1, 6))
    state = s.constant("state")
    for reverse in (False, True):
        weights = [s.constant(name) for name in ("gates", "recurrent", "gate_bias")]
        s.add("lstm", steps, state, state, *weights, reverse=reverse)
        weights = [s.constant(name) for name in ("new", "kept", "new_bias", "kept_bias")]
        s.add("gru", steps, state, *weights, reverse=reverse)
        weights = [s.constant(name) for name in ("plain", "loop", "plain_bias")]
        s.add("rnn", steps, state, *weights, reverse=reverse)


def convolved(s: Sketch) -> None:
    image = s.inputs["channels"]
    filters, bias = s.constant("filters"), s.constant("filter_bias")
    s.add("conv", image, filters, bias)
    s.add("conv", image, filters, bias, padding=(0, 1))
    s.add("conv", image, filters, bias, padding=(0, 3), dilation=(1, 2))
    s.add("conv", image, filters, bias, padding=(1, 1))
    tall = s.add("reshape", s.add("permute", s.inputs["steps"], order=(1, 0)), shape=(1, 6, s.length, 1))
    s.add("conv", tall, s.constant("down"), s.constant("down_bias"), padding=(1, 0))


def framed(s: Sketch) -> None:
    """
    Images one after the other, and images whose channels are the steps.
    """
    n = s.length
    s.inputs["frames"] = s.given("frames", DType.FLOAT32, n, 3, 1, 6)
    for image in (s.inputs["frames"], s.add("reshape", s.inputs["frames"], shape=(1, n, 3, 6))):
        s.add("max_pool", image, kernel=(1, 2), stride=(1, 2))
        s.add("avg_pool", image, kernel=(1, 3), stride=(1, 1), padding=(0, 1))
        s.add("adaptive_avg_pool", image, size=(1, 2))
        s.add("upsample_nearest", image, size=(4, 12), scales=(4.0, 2.0))
        s.add("upsample_bilinear", image, size=(4, 12), scales=(4.0, 2.0), align_corners=False)
    s.add("conv", s.inputs["frames"], s.constant("filters"), s.constant("filter_bias"), padding=(0, 1))
    s.add("group_norm", s.inputs["frames"], s.constant("groups"), s.constant("group_bias"), groups=1)


def fused(s: Sketch) -> None:
    """
    What passes make part of the layer before or after it.
    """
    steps, n = s.inputs["steps"], s.length
    linear, bias, channels = s.constant("linear"), s.constant("bias"), s.constant("by_channel")
    rows = s.between("embedding", s.inputs["words"], s.constant("table"))
    s.add("linear_over", rows, s.constant("loop"), s.constant("plain_bias"))
    layer = s.between("linear_over", steps, linear, bias)
    s.add("relu", s.between("plus", s.between("times", layer, bias), s.constant("other")))
    wide = s.between("reshape", s.between("linear_over", steps, linear, bias), shape=(1, n, 7))
    s.add("tanh", s.between("reshape", wide, shape=(n, 7)))
    sums = [s.between("linear_over", given, linear, bias) for given in (steps, s.between("tanh", steps))]
    s.add("sigmoid", s.between("plus", *sums))
    image = s.between("conv", s.inputs["channels"], s.constant("filters"), s.constant("filter_bias"), padding=(0, 1))
    s.add("relu", s.between("plus", s.between("times", image, channels), channels))
    heads = s.between("reshape", steps, shape=(n, 2, 3))
    turned = [s.between("permute", heads, order=(1, 0, 2)) for _ in range(3)]
    s.add("attention", *turned, scale=0.5, causal=True)


SKETCHES = (fused, elements, arranged, folded, products, stepped, convolved, framed)


def following(sketch: Callable[[Sketch], None]) -> Model:
    """
    The model that follows the length.
    """

    def at(length: int) -> tuple[Model, dict[str, str]]:
        made = Sketch(length)
        sketch(made)
        return made.model(), {}

    return check(all_lengths(at, Length("length", LEAST, MOST)), sketch.__name__)


def random_values(model: Model, rng: np.random.Generator) -> list[np.ndarray]:
    found = []
    for name in model.inputs:
        tensor = model.tensors[name]
        shape = (2, *tensor.fixed_shape)
        drawn = rng.normal(size=shape).astype(np.float32)
        whole = np.minimum(np.abs(drawn * 4), 8).astype(tensor.dtype.numpy)
        found.append(drawn if tensor.dtype is DType.FLOAT32 else whole)
    return found


def poisoned(shape: Any, dtype: Any = float, **_: Any) -> np.ndarray:
    """
    In the place of `np.empty`: what nobody should read.
    """
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 77, dtype)


def assert_equal(found: Sequence[np.ndarray], model: Model, inputs: Sequence[np.ndarray]) -> None:
    values = evaluate(model, dict(zip(model.inputs, inputs, strict=True)))
    for output, array in zip(model.outputs, found, strict=True):
        expected = values[output.tensor]
        assert array.shape == expected.shape, output
        np.testing.assert_allclose(array, expected, rtol=2e-4, atol=2e-5, err_msg=str(model.producer(output.tensor)))


@pytest.mark.parametrize("lanes", [4, 16])
@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda sketch: sketch.__name__)
def test_a_model_gives_what_the_model_of_each_length_gives(tmp_path, monkeypatch, sketch, lanes):
    model = following(sketch)
    rng = np.random.default_rng(1)
    name = f"follows_{sketch.__name__}_{lanes}"
    with predictor(tmp_path / name, model, BuildOptions(lanes=lanes), plain=True) as module:
        monkeypatch.setattr(np, "empty", poisoned)
        face = importlib.import_module(f"{module.__name__}.predictor")
        for length in (LEAST, 4, 5, 8, 17, MOST):
            fixed = at_length(model, length)
            inputs = random_values(fixed, rng)
            face.rooms.own[:] = np.nan
            assert_equal(module.predict(*inputs), fixed, inputs)
            alone = [array[:1] for array in inputs]
            face.rooms.own[:] = np.nan
            assert_equal([array[None] for array in module.predict(*(a[0] for a in alone))], fixed, alone)


PASSES = {
    "fused": ("fold_scales", "fold_embeddings", "turn_keys", "sink_reshapes", "fuse_sums", "fuse_activations"),
    "products": ("turn_keys", "pack_dense_over"),
    "stepped": ("project_sequences",),
}
"""Those that have something to do for a sketch."""


@pytest.mark.parametrize("sketch", [fused, stepped, products], ids=lambda sketch: sketch.__name__)
def test_every_pass_keeps_what_a_model_gives_at_each_length(sketch):
    before = model = following(sketch)
    acted = set()
    for transform in PIPELINE:
        after = check(transform(model, BuildOptions(lanes=4)), transform.__name__)
        if after == model:
            continue
        acted.add(transform.__name__)
        model = after
        for length in (LEAST, 10, MOST):
            inputs = random_values(at_length(before, length), np.random.default_rng(2))
            given = dict(zip(before.inputs, inputs, strict=True))
            left, right = (evaluate(at_length(one, length), given) for one in (before, model))
            for old, new in zip(before.outputs, model.outputs, strict=True):
                np.testing.assert_allclose(left[old.tensor], right[new.tensor], rtol=1e-5, atol=1e-6)
    assert {*PASSES[sketch.__name__]} <= acted


def test_every_op_that_can_follow_a_length_is_tried():
    alike = {*UNARY, *BINARY, "where", "cast"} | {name for name, op in OPS.items() if op.elementwise}
    tried = {node.op for sketch in SKETCHES for node in following(sketch).nodes}
    made_by_passes = {"lstm_steps", "dense_over"}
    assert {*FOLLOWING} - alike - made_by_passes <= tried


def small() -> Model:
    def at(length: int) -> tuple[Model, dict[str, str]]:
        graph = GraphBuilder()
        first = graph.input("length", DType.FLOAT32, (BATCH, length, 2))
        second = graph.input("single", DType.FLOAT32, (BATCH, length + 1))
        result = graph.add("reduce_sum", [first], "sums", axes=(1,), keep=False)
        third = graph.add("negate", [second], "third")
        outputs = (Output("found", result), Output("part0", third))  # names that mean something else in the face
        model = Model("m", tuple(graph.nodes), graph.tensors, (first, second), outputs, Origin("m", "0" * 64, "t"))
        return model, {}

    return all_lengths(at, Length("steps", 2, 6))


def test_packages_are_formatted_and_typed(tmp_path, mypy_cache):
    folder = write(tmp_path / "small", small())
    settings = Path(__file__).parents[2] / "pyproject.toml"
    for command in (
        ["ruff", "format", "--check", "--config", settings, folder],
        ["ruff", "check", "--config", settings, folder],
        ["mypy", "--config-file", settings, "--cache-dir", mypy_cache, folder],
    ):
        done = subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_face_takes_all_lengths_and_no_others(tmp_path):
    with predictor(tmp_path / "small", small(), plain=True) as module:
        assert module.SPEC["inputs"][0]["shape"] == ("batch", "steps<=6", 2)
        assert module.SPEC["inputs"][1]["shape"] == ("batch", "steps+1<=7")
        assert module.SPEC["outputs"][0]["shape"] == ("batch", "steps<=6")
        assert module.SPEC["length"] == {"name": "steps", "least": 2, "most": 6}
        for length in range(2, 7):
            sums, third = module.predict(np.ones((3, length, 2), np.float32), np.ones((3, length + 1), np.float32))
            assert sums.shape == (3, length)
            assert third.shape == (3, length + 1)
            assert (sums == 2).all()
            assert (third == -1).all()
        for length in (1, 7):
            with pytest.raises(
                ValueError, match=rf"expected shape \(2 to 6, 2\), or a batch of it, found \({length}, 2\)"
            ):
                module.predict(np.ones((length, 2)), np.ones(length + 1))
        with pytest.raises(ValueError, match="all inputs must have one length, found 3 and 4"):
            module.predict(np.ones((3, 2)), np.ones(5))
        with pytest.raises(ValueError, match="as many observations"):
            module.predict(np.ones((2, 3, 2)), np.ones(4))
        with pytest.raises(ValueError, match="NaN"):
            module.predict(np.full((2, 2), np.nan), np.ones(3))
        with pytest.raises(ValueError, match="expected shape"):
            module.predict(np.ones((0, 3, 2)), np.ones((0, 4)))
