"""
LSTMs get what their gates have of the input for all steps at once, and of an embedding from its table.
"""

import sys

import numpy as np
import pytest

from compiler.ir import BATCH, DType, Model, Origin, Output
from compiler.ops.builder import GraphBuilder
from compiler.ops.reference import evaluate
from compiler.ops.sequence import pack_recurrence, unpack_recurrence
from compiler.options import BuildOptions
from compiler.passes.fold_embeddings import fold_embeddings
from compiler.passes.lower_layers import lower_layers
from compiler.passes.project_sequences import project_sequences
from compiler.pipeline import run_passes
from compiler.report import layers_of
from tests.passes.graphs import RAISE, apply

RNG = np.random.default_rng(0)
STEPS, WIDTH, UNITS, WORDS = 6, 5, 7, 9


def values(*shape: int):
    return RNG.normal(size=shape).astype(np.float32)


def sentence(*, twice: bool = False, together: int = 1) -> Model:
    """
    Words to an LSTM, the batch of the program first; `twice`, what is looked up is an output as well.
    """
    graph = GraphBuilder()
    words = graph.input("words", DType.INT64, (BATCH, together, STEPS))
    looked = graph.add("embedding", [words, graph.constant("table", values(WORDS, WIDTH))], "look")
    turned = graph.add("permute", [looked], "turn", order=(1, 0, 2))
    states = [graph.constant(name, values(together, UNITS)) for name in ("hidden", "cell")]
    weights = [graph.constant("input", values(4 * UNITS, WIDTH)), graph.constant("recurrent", values(4 * UNITS, UNITS))]
    inputs = [turned, *states, *weights, graph.constant("bias", values(4 * UNITS))]
    outputs, last = graph.add_all("lstm", inputs, "lstm", reverse=False)
    results = [outputs, last, *([looked] if twice else [])]
    named = tuple(Output(f"output_{number}", name) for number, name in enumerate(results))
    return Model("sentence", tuple(graph.nodes), graph.tensors, ("words",), named, Origin("a.pt2", "0" * 64, "x"))


def ops(model: Model) -> list[str]:
    return [node.op for node in model.nodes]


def check_same(before: Model, after: Model) -> None:
    shape = before.tensors["words"].fixed_shape
    inputs = {"words": np.random.default_rng(1).integers(0, WORDS, (3, *shape))}
    one, other = evaluate(before, inputs), evaluate(after, inputs)
    for old, new in zip(before.outputs, after.outputs, strict=True):
        np.testing.assert_allclose(one[old.tensor], other[new.tensor], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lanes", [1, 4, 16])
def test_the_input_of_all_steps_comes_first(lanes):
    model, options = sentence(), BuildOptions(lanes=lanes)
    after = apply(project_sequences, model, options)
    assert ops(after) == ["embedding", "permute", "linear_over", "lstm_steps"]
    assert after.tensors[after.nodes[-1].inputs[3]].shape[2:] == (4, lanes)
    check_same(model, after)
    counted = {layer.name: layer.parameters for layer in layers_of(after, model)}
    assert counted == {
        "look": WORDS * WIDTH,
        "turn": 0,
        "lstm:input": 4 * UNITS * (WIDTH + 1),
        "lstm": 2 * UNITS + 4 * UNITS**2,
    }
    again = apply(project_sequences, after, BuildOptions(lanes=8))
    assert again.tensors[again.nodes[-1].inputs[3]].shape[2:] == (4, 8)
    check_same(model, again)


@pytest.mark.parametrize("width", [1, 3, 7, 16])
def test_packing_keeps_all_weights(width):
    weight = values(4 * UNITS, UNITS)
    packed = pack_recurrence(weight, width)
    assert packed.shape == (-(-UNITS // width), UNITS, 4, width)
    np.testing.assert_array_equal(unpack_recurrence(packed), weight)


def test_an_embedding_takes_the_matrix_in():
    model = project_sequences(sentence(), RAISE)
    after = apply(fold_embeddings, model)
    assert ops(after) == ["embedding", "permute", "lstm_steps"]
    assert after.tensors["table"].shape == (WORDS, 4 * UNITS)
    check_same(model, after)


def test_what_something_else_reads_stays():
    model = project_sequences(sentence(twice=True), RAISE)
    assert apply(fold_embeddings, model) == model


def test_a_table_does_not_grow_out_of_the_caches(monkeypatch):
    monkeypatch.setattr(sys.modules[fold_embeddings.__module__], "LARGEST", 100)
    model = project_sequences(sentence(), RAISE)
    assert apply(fold_embeddings, model) == model


@pytest.mark.parametrize("between", [4, WIDTH])
@pytest.mark.parametrize("shared", [False, True])
def test_a_table_takes_one_matrix_after_the_other_in(between, shared):
    """
    Also a table that another embedding reads.
    """
    graph = GraphBuilder()
    words = graph.input("words", DType.INT64, (BATCH, STEPS))
    table = graph.constant("table", values(WORDS, WIDTH))
    result = graph.add("embedding", [words, table], "look")
    for number, size in enumerate((between, 3)):
        weight = graph.constant(f"weight {number}", values(size, graph.tensors[result].fixed_shape[-1]))
        result = graph.add("linear_over", [result, weight, graph.constant(f"bias {number}", values(size))], "linear")
    results = [result, *([graph.add("embedding", [words, table], "again")] if shared else [])]
    outputs = tuple(Output(f"output_{number}", name) for number, name in enumerate(results))
    model = Model("m", tuple(graph.nodes), graph.tensors, ("words",), outputs, Origin("a.pt2", "0" * 64, "x"))
    after = apply(fold_embeddings, model)
    assert ops(after) == ["embedding"] * len(outputs)
    check_same(model, after)


def test_a_matrix_that_meets_columns_stays():
    """
    Of as many words as a row is wide, so that sizes alone do not tell them apart.
    """
    graph = GraphBuilder()
    words = graph.input("words", DType.INT64, (BATCH, WIDTH))
    looked = graph.add("embedding", [words, graph.constant("table", values(WORDS, WIDTH))], "look")
    turned = graph.add("permute", [looked], "turn", order=(1, 0))
    weights = [graph.constant("weight", values(3, WIDTH)), graph.constant("bias", values(3))]
    outputs = (Output("output", graph.add("linear_over", [turned, *weights], "linear")),)
    model = Model("m", tuple(graph.nodes), graph.tensors, ("words",), outputs, Origin("a.pt2", "0" * 64, "x"))
    assert apply(fold_embeddings, model) == model


@pytest.mark.parametrize(("together", "op"), [(1, "reshape"), (2, "permute")])
def test_moving_only_ones_is_a_reshape(together, op):
    model = sentence(together=together)
    after = apply(lower_layers, model)
    assert ops(after) == ["embedding", op, "lstm"]
    check_same(model, after)


def test_all_passes_together():
    model = sentence()
    after = run_passes(model, RAISE)
    assert ops(after) == ["embedding", "reshape", "lstm_steps"]
    check_same(model, after)
