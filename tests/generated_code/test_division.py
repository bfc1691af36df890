"""
One observation on several threads: the same answer with any number of them, whatever happens.
"""

import importlib
import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.codegen import division
from compiler.ir import Model
from compiler.loading import imported
from compiler.options import BuildOptions
from tests.generated_code.test_threads import given, network, tagger
from tests.models import sources, write

X = given()[:8]


@contextmanager
def made(folder: Path, model: Model, *, work: int = 60_000, plain: bool = False) -> Iterator[Any]:
    """
    A predictor for whose observations five threads are worth waking.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(division, "PART_WORK", work)
        patch.setattr(division, "LAYER_VALUES", 500)
        write(folder, model, BuildOptions(threads=5), plain=plain)
    if not plain:
        command = [sys.executable, "-m", "ruff", "format", "--check", "--isolated", "--line-length", "120"]
        assert subprocess.run([*command, folder], check=False).returncode == 0
    with imported(folder) as module:
        yield module


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    with made(tmp_path_factory.mktemp("division") / "network", network()) as module:
        yield module


@pytest.fixture
def threads(divided):
    return importlib.import_module(f"{divided.__name__}.threads")


@pytest.fixture
def expected(divided, threads, monkeypatch):
    """
    What one thread gives.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "PARTS", 1)
        return [divided.predict(x) for x in X]


def asked(divided) -> list:
    return [divided.predict(x) for x in X]


def same(found, expected) -> bool:
    pairs = [pair for one, other in zip(found, expected, strict=True) for pair in zip(one, other, strict=True)]
    return all(np.array_equal(one, other) for one, other in pairs)


def test_layers_with_enough_to_do_are_divided(divided):
    kernels = importlib.import_module(f"{divided.__name__}.kernels")
    text = Path(str(kernels.__file__)).read_text()
    assert "layer(part, parts, " in text
    assert "if part == 0:\n        sum" in text


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_any_number_of_threads_gives_the_same(divided, threads, expected, monkeypatch, parts):
    seen = set()
    original = threads.predict_part

    def watched(*arguments):
        seen.add((threading.get_ident(), *arguments[-2:]))
        return original(*arguments)

    monkeypatch.setattr(threads, "predict_part", watched)
    monkeypatch.setattr(threads, "PARTS", parts)
    monkeypatch.setattr(threads, "_teams", {})
    assert same(asked(divided), expected)
    assert len(seen) == parts
    assert {part[1:] for part in seen} == {(part, parts) for part in range(parts)}


def test_kernels_that_are_not_compiled_do_the_same(expected, tmp_path):
    with made(tmp_path / "plain", network(), plain=True) as module:
        threads = importlib.import_module(f"{module.__name__}.threads")
        found = module.predict(X[0])
        (team,) = threads._teams.values()
        assert [member.part for member in team._members] == [1, 2, 3, 4]
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(found, expected[0], strict=True))


def test_sequences_of_any_length_are_divided(tmp_path):
    rng = np.random.default_rng(1)
    with made(tmp_path / "tagger", tagger(), work=30_000) as module:
        threads = importlib.import_module(f"{module.__name__}.threads")
        for length in (1, 7, 15, 16, 33, 40):
            x = rng.normal(size=(length, 64)).astype(np.float32)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(threads, "PARTS", 1)
                alone = module.predict(x)
            found = module.predict(x)
            assert np.array_equal(found.hidden, alone.hidden)
            assert np.array_equal(found.mean, alone.mean)
            batch = module.predict(np.stack([x, x]))
            assert np.array_equal(batch.hidden[1], alone.hidden)


def test_a_refusal_reaches_all_threads(divided, threads, expected):
    x = X[0].copy()
    x[7] = np.nan
    for _ in range(50):
        with pytest.raises(ValueError, match="NaN or infinity"):
            divided.predict(x)
        assert same([divided.predict(X[0])], expected[:1])


def test_who_finds_the_threads_busy_computes_alone(divided, expected):
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: asked(divided), range(20)):
            assert same(found, expected)


@pytest.mark.parametrize("wrong", [0, 1, 4])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, None])
def test_what_goes_wrong_in_one_thread_stops_none(divided, threads, expected, monkeypatch, wrong, error):
    original = threads.predict_part

    def failing(*arguments):
        if arguments[-2] != wrong:
            return original(*arguments)
        if error is not None:
            raise error
        return -1

    monkeypatch.setattr(threads, "predict_part", failing)
    if wrong == 0 and error is not None:
        with pytest.raises(error):
            divided.predict(X[0])
    elif wrong:
        assert same([divided.predict(X[0])], expected[:1])
    monkeypatch.undo()
    assert same(asked(divided), expected)


def test_a_process_without_more_threads_computes_alone(divided, threads, expected, monkeypatch):
    def start(member):
        if member.part == 3:
            raise RuntimeError("can't start new thread")
        started.append(member)
        original(member)

    started: list[threading.Thread] = []
    original = threads._Member.start
    monkeypatch.setattr(threads, "_teams", {})
    monkeypatch.setattr(threads._Member, "start", start)
    assert same([divided.predict(X[0])], expected[:1])
    for member in started:
        member.join(10)
    assert [member.is_alive() for member in started] == [False, False]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_threads_of_its_own(divided, expected):
    asked(divided)

    def child(pipe):
        pipe.send(same(asked(divided), expected))

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(theirs,))
    process.start()
    assert ours.poll(60)
    assert ours.recv()
    process.join(10)
    assert process.exitcode == 0


def test_batches_of_divided_models_are_the_same(divided, expected):
    for count in (2, len(X)):  # one by one, and in a block, whose sums have another order
        found = divided.predict(X[:count])
        for row in range(count):
            assert np.allclose(found.hidden[row], expected[row].hidden, atol=1e-5)
            assert np.allclose(found.total[row], expected[row].total, rtol=1e-4)


@pytest.mark.parametrize("threads", [1, None])
def test_models_that_are_not_divided_have_no_code_for_it(threads, tmp_path):
    files = sources(network(), BuildOptions(threads=threads))
    for file in ("kernels.py", "entries.py", "simd.py", "lowering.py", "predictor.py"):
        assert not re.search(r"\b(parts|gate|arrive|sched_yield)\b", str(files[file])), file
    assert ("threads.py" in files) == (threads is None)
    assert "_Team" not in str(files.get("threads.py"))


@pytest.mark.slow
def test_extensions_do_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(division, "PART_WORK", 60_000)
    monkeypatch.setattr(division, "LAYER_VALUES", 500)
    build = compiler.build(network(), out=tmp_path, target="native", cpu="native", threads=5)
    module = build.load()
    threads = importlib.import_module(f"{module.__name__}.threads")
    whole = [module.predict(x) for x in X]
    (team,) = threads._teams.values()
    assert [member.part for member in team._members] == [1, 2, 3, 4]
    monkeypatch.setattr(threads, "PARTS", 1)
    assert same(asked(module), whole)
    for parts in (2, 3, 5):
        monkeypatch.setattr(threads, "PARTS", parts)
        assert same(asked(module), whole)
        wrong = X[0].copy()
        wrong[-1] = np.inf
        with pytest.raises(ValueError, match="NaN or infinity"):
            module.predict(wrong)
    with ThreadPoolExecutor(4) as pool:
        assert all(same(found, whole) for found in pool.map(lambda _: asked(module), range(20)))
    batch = module.predict(X[:2])
    assert same([(batch.hidden[row], batch.total[row]) for row in range(2)], whole[:2])
