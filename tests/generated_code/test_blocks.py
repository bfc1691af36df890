"""
Batches that are computed in blocks of observations: the answers of single observations, whatever the size.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.check import check
from compiler.frontends.lengths import all_lengths
from compiler.ir import BATCH, DType, Length, Model, Origin, Output
from compiler.ops import Array, blocks
from compiler.ops.blocks import BLOCK, LEAST, together
from compiler.ops.builder import GraphBuilder
from compiler.ops.lengths import at_length
from compiler.ops.reference import evaluate
from compiler.options import BuildOptions
from compiler.pipeline import run_passes
from tests.general_models import inputs_of
from tests.models import predictor, sources
from tests.thorough import chosen

SIZES = (1, LEAST - 1, LEAST, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + LEAST - 1, BLOCK + LEAST, 2 * BLOCK + 3)
ORIGIN = Origin("model.pt2", "0" * 64, "test")
RNG = np.random.default_rng(0)
WEIGHTS: dict[tuple[int, ...], Array] = {}


def weight(graph: GraphBuilder, *shape: int) -> str:
    """
    A constant of this shape, always the same one.
    """
    data = WEIGHTS.setdefault(shape, np.asarray(RNG.normal(size=shape) / np.sqrt(shape[-1]), np.float32))
    return graph.constant(f"constant_{len(graph.tensors)}", data)


def linear(graph: GraphBuilder, source: str, outputs: int, op: str = "linear_over") -> str:
    constants = [weight(graph, outputs, graph.tensors[source].fixed_shape[-1]), weight(graph, outputs)]
    return graph.add(op, [source, *constants], f"layer_{len(graph.nodes)}")


def layers() -> Model:
    """
    Layers of one row with all kinds of inputs and outputs, some of them from the middle, named as variables are.
    """
    graph = GraphBuilder()
    source = graph.input("slot", DType.FLOAT32, (BATCH, 19))
    words = graph.input("block", DType.INT64, (BATCH, 3))
    flags = graph.input("row", DType.BOOL, (BATCH, 33))
    wide = graph.add("tanh", [linear(graph, source, 150)], "tanh")
    other = graph.add("leaky_relu", [linear(graph, wide, 33)], "leaky", negative_slope=0.1)
    looked = graph.add("reduce_sum", [graph.add("embedding", [words, weight(graph, 9, 33)], "look")], "sum", axes=(0,))
    joined = graph.add("plus", [other, looked], "plus")
    kept = graph.add("where", [flags, joined, graph.add("negate", [joined], "negate")], "where")
    scores = graph.add("softmax_over", [linear(graph, kept, 70)], "softmax", axis=0)
    best = graph.add("index_of_max", [scores], "best", axis=0, keep=False)
    outputs = (Output("blocks", scores), Output("rows", other), Output("index", best), Output("given", source))
    return Model("layers", tuple(graph.nodes), graph.tensors, ("slot", "block", "row"), outputs, ORIGIN)


def rows() -> Model:
    """
    Layers of a few rows, which follow one another from one observation to the next; something is added to one.
    """
    graph = GraphBuilder()
    source = graph.input("x", DType.FLOAT32, (BATCH, 3, 16))
    hidden = graph.add("silu", [linear(graph, source, 48)], "silu")
    result = graph.add("plus", [linear(graph, hidden, 16), source], "residual")
    return Model("rows", tuple(graph.nodes), graph.tensors, ("x",), (Output("y", result),), ORIGIN)


def sentences(length: int) -> Model:
    """
    An LSTM in both directions, its states given and not, over words; the last step to a class.
    """
    graph = GraphBuilder()
    words = graph.input("words", DType.INT64, (BATCH, length))
    state = graph.input("state", DType.FLOAT32, (BATCH, 1, 18))
    steps = graph.add("embedding", [words, weight(graph, 9, 5)], "look")
    steps = graph.add("reshape", [steps], "steps", shape=(length, 1, 5))
    zero = graph.constant("zero", np.zeros((1, 18), np.float32))
    gates = [weight(graph, 72, size) for size in (5, 18)] + [weight(graph, 72)]
    forward, cell = graph.add_all("lstm", [steps, zero, state, *gates], "forward", reverse=False)
    gates = [weight(graph, 72, 18), weight(graph, 72, 18), weight(graph, 72)]
    backward, _ = graph.add_all("lstm", [forward, state, zero, *gates], "backward", reverse=True)
    last = graph.add("slice", [forward], "last", axis=0, start=length - 1, stop=length, step=1)
    joined = graph.add("join", [last, graph.add("reduce_mean", [backward], "mean", axes=(0,), keep=True)], "j", axis=2)
    scores = graph.add("softmax_over", [linear(graph, joined, 3)], "softmax", axis=2)
    outputs = (Output("scores", scores), Output("all", backward), Output("cell", cell))
    return Model("sentences", tuple(graph.nodes), graph.tensors, ("words", "state"), outputs, ORIGIN)


def of_any_length() -> Model:
    return check(all_lengths(lambda length: (sentences(length), {}), Length("length", 1, 5)), "sentences")


MODELS: tuple[tuple[Callable[[], Model], int], ...] = ((layers, 3), (rows, 2), (lambda: sentences(4), 3))
"""The models, each with the number of its nodes that are computed for all observations of a block at once."""
IDS = ["layers", "rows", "sentences"]


@pytest.fixture
def all_weights_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LEAST_WEIGHTS", 1)


def poisoned(shape: Any, dtype: Any = float, **_: Any) -> Array:
    """
    In the place of `np.empty`: what nobody should read.
    """
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 77, dtype)


def assert_right(found: Any, model: Model, inputs: Sequence[Array]) -> None:
    values = evaluate(model, dict(zip(model.inputs, inputs, strict=True)))
    for output, array in zip(model.outputs, found if isinstance(found, tuple) else (found,), strict=True):
        assert array.shape == values[output.tensor].shape
        np.testing.assert_allclose(array, values[output.tensor], rtol=1e-4, atol=1e-5, err_msg=output.name)


@pytest.mark.parametrize("lanes", chosen([1, 4, 8, 16], 4, 16))
@pytest.mark.parametrize(("make", "count"), MODELS, ids=IDS)
@pytest.mark.usefixtures("all_weights_count")
def test_batches_of_all_sizes(tmp_path, monkeypatch, make, count, lanes):
    model = make()
    assert len(together(run_passes(model, BuildOptions(lanes=16)))) == count
    with predictor(
        tmp_path / f"{model.name}_{lanes}", model, BuildOptions(lanes=lanes), plain=True, packed_for=16
    ) as m:
        monkeypatch.setattr(np, "empty", poisoned)
        for size in SIZES if lanes == 16 else (BLOCK + LEAST,):
            inputs = inputs_of(model, size, seed=size)
            assert_right(m.predict(*inputs), model, inputs)


@pytest.mark.usefixtures("all_weights_count")
def test_sequences_of_all_lengths(tmp_path):
    model = of_any_length()
    with predictor(tmp_path / "lengths", model, BuildOptions(lanes=4), plain=True) as module:
        for length in (1, 2, 5):
            fixed = at_length(model, length)
            inputs = inputs_of(fixed, BLOCK + LEAST, seed=length)
            assert_right(module.predict(*inputs), fixed, inputs)


@pytest.mark.usefixtures("all_weights_count")
def test_the_place_in_a_batch_changes_nothing(tmp_path):
    """
    Bit by bit: of a row that is computed in a block, whichever that is, and whether the block is full.
    """
    model = layers()
    inputs = inputs_of(model, 3 * BLOCK)
    with predictor(tmp_path / "places", model, BuildOptions(lanes=16), plain=True) as module:
        whole = module.predict(*inputs)
        for first, last in ((1, 1 + BLOCK), (3, 3 + LEAST), (5, 5 + 2 * BLOCK)):
            part = module.predict(*(array[first:last] for array in inputs))
            assert all(np.array_equal(one, other[first:last]) for one, other in zip(part, whole, strict=True))


@pytest.mark.usefixtures("all_weights_count")
def test_a_refused_observation_refuses_its_batch(tmp_path):
    model = layers()
    with predictor(tmp_path / "refusals", model, BuildOptions(lanes=16), plain=True) as module:
        for row in (0, BLOCK - 1, BLOCK, 2 * BLOCK + 2):
            inputs = inputs_of(model, 2 * BLOCK + 3)
            inputs[0][row, 3] = np.nan
            with pytest.raises(ValueError, match="NaN or infinity"):
                module.predict(*inputs)
            inputs[0][row, 3], inputs[1][row, 2] = 0, 9
            with pytest.raises(ValueError, match="block"):
                module.predict(*inputs)


def test_models_that_do_not_wait_for_weights_have_no_blocks():
    graph = GraphBuilder()
    image = graph.input("image", DType.FLOAT32, (BATCH, 1, 16, 16, 16))
    image = graph.add("conv", [image, weight(graph, 32, 16, 3, 3), weight(graph, 32)], "conv", padding=(1, 1))
    flat = graph.add("reshape", [graph.add("reduce_mean", [image], "mean", axes=(2, 3), keep=False)], "f", shape=(32,))
    outputs = (Output("y", linear(graph, flat, 128)),)
    model = Model("image", tuple(graph.nodes), graph.tensors, ("image",), outputs, ORIGIN)
    assert not together(run_passes(model, BuildOptions()))
    kernels = str(sources(model, BuildOptions())["kernels.py"])
    assert "_block" not in kernels


def modules() -> dict[str, Callable[[], tuple[Any, Any]]]:
    """
    PyTorch models, each with one observation.
    """
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Classifier(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(9, 10), nn.Linear(64, 3)
            self.memory = getattr(nn, kind)(10, 64, batch_first=True)

        def forward(self, sentence: Any) -> Any:
            return torch.softmax(self.head(self.memory(self.words(sentence))[0][:, -1]), -1)

    class Mean(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.words, self.hidden, self.head = nn.Embedding(9, 64), nn.Linear(64, 128), nn.Linear(128, 33)

        def forward(self, words: Any) -> Any:
            return self.head(torch.tanh(self.hidden(self.words(words).mean(1))))

    def layered() -> Any:
        return nn.Sequential(
            nn.Linear(30, 100), nn.Tanh(), nn.Linear(100, 70), nn.ReLU(), nn.Linear(70, 9), nn.Softmax(-1)
        )

    words = torch.zeros(1, 6, dtype=torch.int64)
    return {
        "lstm": lambda: (Classifier("LSTM"), words),
        "gru": lambda: (Classifier("GRU"), words),
        "mean": lambda: (Mean(), words),
        "layers": lambda: (layered(), torch.zeros(1, 30)),
    }


CASES = [(name, target) for name in ("lstm", "gru", "mean", "layers") for target in ("numba", "native", "c", "wasm")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "target"), chosen(CASES, ("lstm", "numba"), ("layers", "native")))
def test_what_torch_gives(tmp_path, name, target):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module, example = modules()[name]()
    build = compiler.build(
        module.eval(), example_inputs=(example,), out=tmp_path, name=f"{name}_{target}", target=target
    )
    if target not in ("numba", "native"):
        return  # what is no package of Python was asked for batches by the build
    predict = build.load().predict
    for size in SIZES:
        given = (
            torch.randint(0, 9, (size, 6))
            if example.ndim == 2 and not example.is_floating_point()
            else torch.randn(size, 30)
        )
        with torch.inference_mode():
            expected = module(given).numpy()
        np.testing.assert_allclose(predict(given.numpy()), expected, rtol=1e-4, atol=1e-5)
