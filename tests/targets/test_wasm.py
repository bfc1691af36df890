"""
WebAssembly in wasmtime, node and Chromium: the same answers as the source, with SIMD and without.
"""

import importlib.util
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from compiler.errors import BuildError
from compiler.options import BuildOptions
from compiler.products import resolve
from compiler.targets import machines
from compiler.verify import Predictor, verify
from tests.targets.wasm_files import KINDS, ROOT, in_chromium, in_node, made, make, placed
from tests.targets.wasm_questions import Questions
from tests.thorough import chosen

TESTED = chosen(KINDS, "cartpole", "pendulum", "dict", "keys", "recurrent")
ENGINES = pytest.mark.parametrize("simd", [False, True], ids=["scalar", "simd"])
WASMTIME = pytest.mark.skipif(importlib.util.find_spec("wasmtime") is None, reason="wasmtime is not installed")
PAGE = ("cartpole", "dict", "recurrent", "image")
"""The kinds that a browser is asked for."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return placed(tmp_path_factory.mktemp("wasm"), *TESTED)


@WASMTIME
@ENGINES
@pytest.mark.parametrize("kind", TESTED)
def test_modules_answer_as_the_source_does(kind: str, simd: bool) -> None:
    policy = made(kind)
    with policy.predictor(simd) as predictor:
        result = verify(policy.source, policy.passed, cast(Predictor, predictor), policy.options)
    assert result.observations > 100


@WASMTIME
@ENGINES
def test_modules_show_their_layers(simd: bool) -> None:
    policy = made("cartpole")
    observation = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    with policy.predictor(simd) as predictor:
        layers, scores = predictor.layers(observation), predictor.scores(observation)
    output = policy.passed.output("scores")
    assert output is not None
    np.testing.assert_array_equal(layers[output.tensor][:2], scores)


@WASMTIME
@ENGINES
@pytest.mark.parametrize("name", ["cartpole", "pendulum"])
def test_modules_replay_what_stable_baselines3_answered(name: str, simd: bool) -> None:
    recorded = np.load(ROOT / "tests" / "golden" / f"{name}.npz")
    with made(name).predictor(simd) as predictor:
        scores, (actions, _) = predictor.scores(recorded["observations"]), predictor.predict(recorded["observations"])
    check_recorded(recorded, actions, scores)


def check_recorded(recorded: Any, actions: Any, scores: Any) -> None:
    expected, size = recorded["scores"], np.abs(recorded["observations"]).max(axis=1, keepdims=True)
    tolerance = 5e-6 * (1 + np.abs(expected).max(axis=1, keepdims=True) + size)
    assert (np.abs(scores - expected) <= tolerance).all()
    if recorded["actions"].dtype.kind == "i":
        margin = np.abs(expected[:, 0] - expected[:, 1])
        decided = margin > 2 * tolerance[:, 0]
        assert decided.mean() > 0.95
        np.testing.assert_array_equal(actions[decided], recorded["actions"][decided])
    else:
        np.testing.assert_allclose(actions, recorded["actions"], rtol=1e-5, atol=2e-5 + 2 * tolerance.max())


@pytest.fixture(scope="module")
def in_node_all(folder: Path) -> dict[tuple[str, bool], Any]:
    """
    What all kinds answer in node.
    """
    asked = [(kind, simd) for kind in TESTED for simd in (False, True)]
    results = in_node(folder, [Questions(kind).job(simd) for kind, simd in asked])
    return dict(zip(asked, results, strict=True))


@WASMTIME
@ENGINES
@pytest.mark.parametrize("kind", TESTED)
def test_node_gives_the_answers_of_the_source(kind: str, simd: bool, in_node_all: Any) -> None:
    Questions(kind).check(in_node_all[kind, simd])


@ENGINES
@pytest.mark.parametrize("name", ["cartpole", "pendulum"])
def test_node_replays_what_stable_baselines3_answered(name: str, simd: bool, folder: Path) -> None:
    recorded = np.load(ROOT / "tests" / "golden" / f"{name}.npz")
    flat = {"#Float32Array": recorded["observations"].ravel()}
    calls = [{"call": call, "observation": flat, "options": {"count": 1000}} for call in ("predict", "scores")]
    ((actions, scores),) = in_node(folder, [{"name": name, "simd": simd, "calls": calls}])
    shaped = np.array(actions, recorded["actions"].dtype).reshape(recorded["actions"].shape)
    check_recorded(recorded, shaped, np.reshape(scores, recorded["scores"].shape))


@pytest.fixture(scope="module")
def in_page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """
    What some kinds answer in Chromium.
    """
    folder = placed(tmp_path_factory.mktemp("page"), *PAGE)
    jobs = [Questions(kind).job(simd) for kind in PAGE for simd in (False, True)]
    return in_chromium(folder, jobs, "cartpole", [0.1, -0.2, 0.3, 0.4])


@WASMTIME
@pytest.mark.slow
@pytest.mark.parametrize("place", ["page", "worker"])
@pytest.mark.parametrize("kind", PAGE)
def test_chromium_gives_the_answers_of_the_source(kind: str, place: str, in_page: Any) -> None:
    first = 2 * PAGE.index(kind)
    for results in in_page[place][first : first + 2]:
        Questions(kind).check(results)


@pytest.mark.slow
def test_chromium_loads_from_all_that_says_where_the_module_is(in_page: Any) -> None:
    ways = dict(in_page["ways"])
    assert ways.pop("missing").startswith("Error: cartpole: expected a WebAssembly module, found HTTP 404 at http")
    expected = "TypeError: source: expected a URL, a Response, bytes or a WebAssembly.Module, found number"
    assert ways.pop("number") == expected
    assert ways.pop("page").startswith("CompileError")
    assert len(ways) == 9
    assert len({tuple(scores) for scores in ways.values()}) == 1


@WASMTIME
@pytest.mark.parametrize("kind", TESTED)
def test_modules_import_nothing_and_export_what_is_needed(kind: str) -> None:
    import wasmtime

    policy = made(kind)
    arrays = [array.name for array in policy.sources.policy.predictor.arrays]
    for file in (f"{kind}.wasm", f"{kind}.scalar.wasm"):
        module = wasmtime.Module(wasmtime.Engine(), policy.files[file])
        assert module.imports == []
        names = {"memory", "act", "rows", "model_sha256", "actions", "scores", "room", *arrays}
        assert {export.name for export in module.exports} == names
        (memory,) = [export.type for export in module.exports if export.name == "memory"]
        assert memory.limits.min == memory.limits.max


@WASMTIME
def test_the_module_without_simd_is_for_every_engine() -> None:
    import wasmtime

    settings = wasmtime.Config()
    for feature in ("relaxed_simd", "simd", "multi_value"):
        setattr(settings, f"wasm_{feature}", False)
    engine = wasmtime.Engine(settings)
    wasmtime.Module(engine, made("cartpole").files["cartpole.scalar.wasm"])
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module(engine, made("cartpole").files["cartpole.wasm"])


def sections(data: bytes) -> list[tuple[int, bytes]]:
    """
    The sections of a module: number and content.
    """
    found, place = [], 8
    while place < len(data):
        number, size, shift, place = data[place], 0, 0, place + 1
        while True:
            byte, place = data[place], place + 1
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        found.append((number, data[place : place + size]))
        place += size
    return found


def test_cartpole_is_small_and_says_nothing_of_this_machine() -> None:
    files = made("cartpole").files
    assert set(files) == {"cartpole.wasm", "cartpole.scalar.wasm", "cartpole.mjs", "cartpole.d.mts"}
    assert len(files["cartpole.wasm"]) < 40_000
    assert len(files["cartpole.scalar.wasm"]) < 40_000
    for file in ("cartpole.wasm", "cartpole.scalar.wasm"):
        assert all(number != 0 for number, _ in sections(files[file]))  # no names, no producers
    assert not any(word in data for data in files.values() for word in (b"/tmp", str(ROOT).encode(), b"policyc-"))


def test_the_same_bytes_come_twice() -> None:
    assert make(KINDS["cartpole"](), "cartpole").files == made("cartpole").files


def test_there_is_no_processor_to_choose() -> None:
    with pytest.raises(BuildError, match="wasm32 has none to choose from"):
        resolve(BuildOptions(target="wasm", cpu="native"))
    assert [level.lanes for level in machines.find("wasm32").levels] == [1, 4]
