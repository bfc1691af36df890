"""
Large batches on several threads: the same answers with any number of them.
"""

import importlib
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler.errors import BuildError
from compiler.ir import BATCH, DType, Length, Model, Origin, Output
from compiler.loading import imported
from compiler.ops.blocks import BLOCK
from compiler.ops.builder import GraphBuilder
from compiler.options import BuildOptions
from tests.models import observations, policy, predictor, sources, write
from tests.thorough import chosen

WIDTH = 600
ROWS = 60
"""Enough for several parts: an observation takes 360,600 multiply-adds."""


def network() -> Model:
    """
    A layer that is wide enough for threads, and one result of each row that tells observations apart.
    """
    rng, graph = np.random.default_rng(7), GraphBuilder()
    source = graph.input("x", DType.FLOAT32, (BATCH, WIDTH))
    weights = [
        graph.constant("weight", rng.normal(size=(WIDTH, WIDTH)).astype(np.float32)),
        graph.constant("bias", rng.normal(size=WIDTH).astype(np.float32)),
    ]
    hidden = graph.add("tanh", [graph.add("linear", [source, *weights], "layer")], "tanh")
    last = graph.add("linear", [hidden, graph.constant("last", np.ones((1, WIDTH), np.float32)), bias(graph)], "sum")
    outputs = (Output("hidden", hidden), Output("total", last))
    return Model("network", tuple(graph.nodes), graph.tensors, ("x",), outputs, Origin("network.pt2", "0" * 64, "test"))


def bias(graph: GraphBuilder) -> str:
    return graph.constant("zero", np.zeros(1, np.float32))


@pytest.fixture(scope="module", params=chosen((2, 3, None), 3, None))
def threaded(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("threads") / f"network_{request.param}"
    with predictor(folder, network(), BuildOptions(threads=request.param)) as module:
        yield module


def given(rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(rows, WIDTH)).astype(np.float32)


def assert_near_single_observations(module):
    """
    In blocks of observations sums are added up in another order.
    """
    found = module.predict(given())
    for row, x in enumerate(given()):
        one = module.predict(x)
        np.testing.assert_allclose(found.hidden[row], one.hidden, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.total[row], one.total, rtol=1e-4, atol=1e-2)


def test_batches_are_the_same_with_any_number_of_threads(threaded, monkeypatch):
    module = importlib.import_module(f"{threaded.__name__}.predictor")
    assert module.THREADS_FROM == 2 * 14
    assert "network_of_block" in Path(str(module.__file__)).with_name("kernels.py").read_text()
    for rows in (27, 28, 29, 41, 42, 43, ROWS):
        found = threaded.predict(given()[:rows])
        with monkeypatch.context() as patch:
            patch.setattr(module, "THREADS_FROM", ROWS + 1)
            alone = threaded.predict(given()[:rows])
        assert np.array_equal(found.hidden, alone.hidden)
        assert np.array_equal(found.total, alone.total)
    assert_near_single_observations(threaded)


def test_as_many_threads_as_were_chosen(threaded, monkeypatch):
    threads = importlib.import_module(f"{threaded.__name__}.threads")
    seen = []

    def watched(rows, *arguments):
        seen.append((threading.get_ident(), rows))
        return original(rows, *arguments)

    original = threads.predict_part
    monkeypatch.setattr(threads, "predict_part", watched)
    threaded.predict(given())
    wanted = min(threads.THREADS, ROWS // 14)
    assert len(seen) == wanted
    assert sum(rows for _, rows in seen) == ROWS
    assert max(rows for _, rows in seen) - min(rows for _, rows in seen) <= BLOCK
    assert sum(rows % BLOCK > 0 for _, rows in seen) <= 1  # all others begin and end where a block does
    assert threading.get_ident() in [thread for thread, _ in seen]


def test_nan_in_any_part_is_refused(threaded):
    for row in (0, ROWS // 2, ROWS - 1):
        x = given()
        x[row, 3] = np.nan
        with pytest.raises(ValueError, match="NaN or infinity"):
            threaded.predict(x)


def test_an_error_in_another_thread_is_the_callers(threaded, monkeypatch):
    threads = importlib.import_module(f"{threaded.__name__}.threads")
    caller, original = threading.get_ident(), threads.predict_part

    def failing(*arguments):
        if threading.get_ident() != caller:
            raise MemoryError("no room")
        return original(*arguments)

    expected = threaded.predict(given()).hidden
    with monkeypatch.context() as patch:
        patch.setattr(threads, "predict_part", failing)
        with pytest.raises(MemoryError, match="no room"):
            threaded.predict(given())
    assert np.array_equal(threaded.predict(given()).hidden, expected)


def test_callers_on_several_threads(threaded):
    expected = threaded.predict(given())
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: threaded.predict(given()), range(12)):
            assert np.array_equal(found.hidden, expected.hidden)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_threads_of_its_own(threaded):
    expected = threaded.predict(given()).total

    def child(pipe):
        pipe.send(threaded.predict(given()).total)

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(theirs,))
    process.start()
    assert ours.poll(60)
    assert np.array_equal(ours.recv(), expected)
    process.join(10)
    assert process.exitcode == 0


@pytest.mark.parametrize("model", [policy(), network()], ids=["policy", "network"])
def test_one_thread_has_no_code_for_several(model, tmp_path):
    files = sources(model, BuildOptions(threads=1))
    assert "threads.py" not in files
    assert not any(
        word in str(text)
        for text in (files["predictor.py"], files["entries.py"])
        for word in ("THREADS", "threaded", "threads")
    )
    with predictor(tmp_path / "one", model, BuildOptions(threads=1)) as module:
        if model.policy is None:
            assert_near_single_observations(module)
        else:
            x = observations(model, 3000)
            assert np.array_equal(module.predict(x)[0], [module.act(row) for row in x])


def test_policies_use_as_many_threads_as_were_chosen(tmp_path, monkeypatch):
    model = policy(hidden=(64, 64))
    with imported(write(tmp_path / "two", model, BuildOptions(threads=2))) as agent:
        x = observations(model, 20_000)
        module = importlib.import_module(f"{agent.__name__}.predictor")
        threads = importlib.import_module(f"{agent.__name__}.threads")
        assert len(x) >= module.THREADS_FROM == 2 * threads.LEAST
        seen = []

        def watched(first, last, rows, *arguments):
            seen.append((first, last, rows, threading.get_ident()))
            return original(first, last, rows, *arguments)

        original = threads.predict_part
        monkeypatch.setattr(threads, "predict_part", watched)
        found = agent.predict(x)[0]
        middle = (20_000 + threads.LEAST // 2) // 2 // threads.LANES * threads.LANES
        assert sorted(part[:3] for part in seen) == [(0, middle, 20_000), (middle, 20_000, 20_000)]
        assert len({part[3] for part in seen}) == 2
        assert np.array_equal(found[:100], [agent.act(row) for row in x[:100]])


def test_small_models_have_no_code_for_threads(tmp_path):
    graph = GraphBuilder()
    source = graph.input("x", DType.FLOAT32, (BATCH, 4))
    output = Output("y", graph.add("tanh", [source], "tanh"))
    origin = Origin("small.pt2", "0" * 64, "test")
    model = Model("small", tuple(graph.nodes), graph.tensors, ("x",), (output,), origin)
    assert "threads.py" not in sources(model, BuildOptions())


def test_the_number_is_looked_at():
    with pytest.raises(BuildError, match="threads must be at least 1, found 0"):
        compiler.BuildOptions(threads=0)


@pytest.mark.slow
def test_extensions_do_the_same(tmp_path):
    build = compiler.build(network(), out=tmp_path, target="native", cpu="native", threads=2)
    assert (build.path / "threads.py").exists()
    module = build.load()
    assert_near_single_observations(module)
    x = given()
    x[-1, 0] = np.inf
    with pytest.raises(ValueError, match="NaN or infinity"):
        module.predict(x)


def tagger() -> Model:
    """
    A model whose outputs are as long as its sequences.
    """
    rng, graph = np.random.default_rng(3), GraphBuilder()
    length = Length("length", 1, 40)
    source = graph.input("x", DType.FLOAT32, (BATCH, length, 64))
    weights = [graph.constant("weight", rng.normal(size=(64, 64)).astype(np.float32)), graph.constant("bias", ZEROS)]
    hidden = graph.add("tanh", [graph.add("linear_over", [source, *weights], "layer")], "tanh")
    total = graph.add("reduce_mean", [hidden], "mean", axes=(0,), keep=False)
    outputs = (Output("hidden", hidden), Output("mean", total))
    return Model("tagger", tuple(graph.nodes), graph.tensors, ("x",), outputs, Origin("tagger.pt2", "0" * 64, "test"))


ZEROS = np.zeros(64, np.float32)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    with predictor(tmp_path_factory.mktemp("threads") / "tagger", tagger(), BuildOptions(threads=2)) as module:
        yield module


@pytest.mark.parametrize("length", [1, 7, 40])
def test_sequences_of_any_length_are_divided(sequences, monkeypatch, length):
    module = importlib.import_module(f"{sequences.__name__}.predictor")
    threads = importlib.import_module(f"{sequences.__name__}.threads")
    least = -(-5_000_000 // (64 * 64))
    assert module.THREADS_FROM == 2 * threads.LEAST == 2 * least
    x = np.random.default_rng(1).normal(size=(2 * least // length + 1, length, 64)).astype(np.float32)
    seen = []

    def watched(rows, *arguments):
        seen.append(rows)
        return original(rows, *arguments)

    original = threads.predict_part
    monkeypatch.setattr(threads, "predict_part", watched)
    found = sequences.predict(x)
    assert sorted(seen) == [len(x) // 2, len(x) - len(x) // 2]
    for row in (0, len(x) // 2, len(x) - 1):
        one = sequences.predict(x[row])
        assert np.array_equal(found.hidden[row], one.hidden)
        assert np.array_equal(found.mean[row], one.mean)


def test_callers_of_sequences_on_several_threads_have_rooms_of_their_own(sequences):
    rng = np.random.default_rng(2)
    asked = [rng.normal(size=(30, length, 64)).astype(np.float32) for length in (40, 3, 17, 25)]
    expected = [sequences.predict(x) for x in asked]

    def ask(number: int) -> bool:
        found = sequences.predict(asked[number % 4])
        return all(np.array_equal(one, other) for one, other in zip(found, expected[number % 4], strict=True))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(400)))
