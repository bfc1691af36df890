"""
The ES module around a WebAssembly module: what it takes, what it refuses, what it keeps, and its types.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.targets.wasm_files import KINDS, in_node, made, make, placed, tool


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return placed(tmp_path_factory.mktemp("javascript"), *KINDS)


def refusals() -> Iterator[tuple[str, str, Any, Any, str]]:
    """
    A kind, a call, an observation and options, and what is thrown.
    """
    four = [0.5, 0.5, 0.5, 0.5]
    dictionary = {"camera": np.zeros((1, 8, 9), int), "gear": 1, "switches": [[0, 1], [1, 0]], "dials": [0, 0]}
    shape = "RangeError: observation: expected shape [4], or [n, 4] with n of at least 1, found "
    for call in ("act", "predict", "scores"):
        yield "cartpole", call, [1, 2, 3], None, shape + "[3]"
        yield "cartpole", call, [], None, shape + "[0]"
        yield "cartpole", call, [[[1, 2, 3, 4]]], None, shape + "[1, 1, 4]"
        yield "cartpole", call, 7, None, shape + "[]"
        yield "cartpole", call, {"#Float32Array": [1] * 8}, None, shape + "[8]"
        yield "cartpole", call, "1234", None, "TypeError: observation: expected an array of shape [4], found string"
        yield "cartpole", call, None, None, "TypeError: observation: expected an array of shape [4], found null"
        yield "cartpole", call, [1, 2, "3", 4], None, "TypeError: observation: expected real numbers, found string"
        yield "cartpole", call, [1, 2, None, 4], None, "TypeError: observation: expected real numbers, found null"
        expected = "RangeError: observation 0 of 1: expected finite numbers, found "
        yield "cartpole", call, [0, 1, np.nan, 3], None, f"{expected}NaN at [2]"
        yield "cartpole", call, [-np.inf, 1, 2, 3], None, f"{expected}-Infinity at [0]"
        yield "cartpole", call, [1e39, 1, 2, 3], None, f"{expected}Infinity at [0]"
        yield "normalised", call, {"#Float64Array": [0, np.nan, 0, 0]}, None, f"{expected}NaN at [1]"
        yield "matrix", call, [[0, 0, 0], [0, 0, np.nan]], None, f"{expected}NaN at [1, 2]"
    large = "RangeError: the network's output is not finite for this observation: its values are too large"
    yield "matrix", "act", [[3e38] * 3] * 2, None, large
    many = [four] * 99 + [[0, 0, 0, np.nan]]
    yield (
        "cartpole",
        "predict",
        many,
        None,
        "RangeError: observation 99 of 100: expected finite numbers, found NaN at [3]",
    )
    batch = "RangeError: observation: expected one, without a batch dimension, found 2 in a batch"
    yield "cartpole", "act", [four, four], None, batch
    ragged = "RangeError: observation: expected an array of shape [4], found an array of 3 in place of 4 values"
    yield "cartpole", "predict", [four, four[:3]], None, ragged
    counted = {"#Float32Array": four * 2}
    wrong = "RangeError: observation: expected shape [3, 4], found [8]"
    yield "cartpole", "predict", counted, {"count": 3}, wrong
    yield (
        "cartpole",
        "predict",
        counted,
        {"count": 0},
        "RangeError: count: expected a whole number of at least 1, found 0",
    )
    yield "choice", "act", 7, None, "RangeError: observation 0 of 1: expected 0 to 6, found 7 at 0"
    yield "choice", "act", -1, None, "RangeError: observation 0 of 1: expected 0 to 6, found -1 at 0"
    yield "choice", "act", 1e300, None, "RangeError: observation 0 of 1: expected 0 to 6, found 1e+300 at 0"
    yield "choice", "act", np.nan, None, "RangeError: observation: expected whole numbers, found NaN or infinity"
    yield "choice", "act", "1", None, "TypeError: observation: expected real numbers, found string"
    yield "choices", "predict", [[0, 0], [0, 4]], None, "RangeError: observation 1 of 2: expected 0 to 3, found 4 at 1"
    pixels = "RangeError: observation: expected pixels, whole numbers from 0 to 255, found "
    for value in (256, -1, 0.5):
        yield "image", "act", np.full((1, 8, 9), value), None, f"{pixels}{value}"
    yield (
        "image",
        "act",
        {"#Uint8Array": [0] * 72},
        {"layout": "NHWC"},
        'RangeError: layout: expected "CHW" or "HWC", found NHWC',
    )
    keys = '["camera","dials","gear","speed","switches"]'
    found = '["camera","dials","gear","switches"]'
    yield (
        "dict",
        "act",
        dictionary,
        None,
        f"TypeError: observation: expected an object with the keys {keys}, found {found}",
    )
    yield "dict", "act", four, None, f"TypeError: observation: expected an object with the keys {keys}, found number"
    yield "dict", "act", 3, None, f"TypeError: observation: expected an object with the keys {keys}, found number"
    rows = {**dictionary, "speed": [four, four]}
    yield "dict", "predict", rows, None, 'RangeError: observation "camera": expected 2 rows, as in other parts, found 1'
    finite = "RangeError: observation.speed 0 of 1: expected finite numbers, found NaN at [3]"
    yield "dict", "act", {**dictionary, "speed": [0, 0, 0, np.nan]}, None, finite
    masks = "action_masks: expected 9 truth values for each of 1 observations, found "
    yield "masked", "act", four, {"action_masks": [True] * 8}, f"RangeError: {masks}[8]"
    yield "masked", "act", four, {"action_masks": "yes"}, f"RangeError: {masks}string"
    yield (
        "masked",
        "act",
        four,
        {"action_masks": ["yes"] * 9},
        "TypeError: action_masks: expected truth values, found string",
    )
    state = "RangeError: state: expected hidden and cell of 12 values, as predict returns them, found 3 and undefined"
    yield "recurrent", "predict", four, {"state": {"hidden": [1, 2, 3]}}, state
    zeros = [0] * 12
    bad = {"hidden": [*zeros[:8], np.nan, 0, 0, 0], "cell": zeros}
    finite = "RangeError: state h, layer 1 of 2: expected finite numbers, found NaN at [0, 2]"
    yield "recurrent", "predict", four, {"state": bad}, finite
    starts = "RangeError: episode_start: expected 1 truth values, found [2]"
    yield "recurrent", "predict", four, {"episode_start": [True, False]}, starts


def test_what_can_not_be_answered_is_refused_and_said(folder: Path) -> None:
    cases = list(refusals())
    jobs = [
        {"name": kind, "calls": [{"call": call, "observation": observation, "options": options or {}}]}
        for kind, call, observation, options, _ in cases
    ]
    results = in_node(folder, jobs)
    found = [f"{result['error']}: {result['message']}" if isinstance(result, dict) else result for (result,) in results]
    assert found == [expected for *_, expected in cases]


def test_observations_come_in_every_form(folder: Path) -> None:
    rng = np.random.default_rng(1)
    vectors, images = rng.normal(size=(70, 4)).astype(np.float32), rng.integers(0, 256, (5, 1, 8, 9))
    matrices = rng.normal(size=(3, 2, 3)).astype(np.float32)
    parts: dict[str, npt.NDArray[Any]] = {
        "camera": images,
        "gear": np.arange(5),
        "switches": rng.integers(0, 2, (5, 2, 2)),
        "dials": rng.integers(0, 3, (5, 2)),
        "speed": vectors[:5],
    }
    last = images.transpose(0, 2, 3, 1)
    forms: dict[str, list[tuple[Any, Any]]] = {
        "cartpole": [
            (vectors, None),
            ([{"#Float32Array": row} for row in vectors], None),
            ({"#Float32Array": vectors.ravel()}, {"count": 70}),
            ({"#Float64Array": vectors.ravel()}, {"count": 70}),
            (vectors, {"count": 70}),
        ],
        "matrix": [
            (matrices, None),
            ({"#Float32Array": matrices.ravel()}, {"count": 3}),
            ([{"#Float32Array": one.ravel()} for one in matrices], None),
            ([[{"#Float32Array": row} for row in one] for one in matrices], None),
        ],
        "image": [
            (images, None),
            (last, None),
            ({"#Uint8Array": images.ravel()}, {"count": 5}),
            ({"#Float32Array": images.ravel()}, {"count": 5}),
            ({"#Uint8Array": last.ravel()}, {"count": 5, "layout": "HWC"}),
            ([{"#Uint8Array": one.ravel()} for one in images], None),
        ],
        "choice": [
            (np.arange(7), None),
            ({"#Int32Array": np.arange(7)}, None),
            ({"#Int32Array": np.arange(7)}, {"count": 7}),
            (np.arange(7) + 0.5, None),
        ],
        "dict": [
            (parts, None),
            ([{key: part[row] for key, part in parts.items()} for row in range(5)], None),
            ({**parts, "camera": last}, None),
            ({**parts, "camera": {"#Uint8Array": images.ravel()}}, {"count": 5}),
            ({**parts, "switches": parts["switches"].astype(bool), "gear": {"#Int32Array": np.arange(5)}}, None),
        ],
    }
    names = [name for name, given in forms.items() for _ in given]
    calls = [
        {"call": "scores", "observation": observation, "options": options or {}}
        for given in forms.values()
        for observation, options in given
    ]
    results = in_node(folder, [{"name": n, "calls": [c]} for n, c in zip(names, calls, strict=True)])
    first: dict[str, Any] = {}
    for name, (result,) in zip(names, results, strict=True):
        assert isinstance(result, list), (name, result)
        assert first.setdefault(name, result) == result


SCRIPT = """
import {{ load, SPEC }} from "./{name}/{name}.mjs";
import {{ readFile }} from "node:fs/promises";
import assert from "node:assert/strict";
{body}
console.log("done");
"""


def run(folder: Path, name: str, body: str) -> None:
    """
    Runs a module in node that asserts something.
    """
    node = tool("node", "nodejs")
    script = folder / "script.mjs"
    script.write_text(SCRIPT.format(name=name, body=body), "utf-8")
    done = subprocess.run(
        [node, "--expose-gc", str(script)], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_policies_side_by_side_know_nothing_of_each_other(folder: Path) -> None:
    run(
        folder,
        "recurrent",
        """
const [one, other] = [await load(), await load({ simd: false })];
const [first, second, third] = [one.episode(), one.episode(), other.episode()];
const observations = Array.from({ length: 30 }, (_, i) => [i % 5, -1, 0.5, i % 3]);
const alone = observations.map((x) => Array.from(first.act(x)));
first.reset();
const beside = observations.map((x) => {
    second.act(x.map((v) => -v));
    third.act(x);
    one.predict([x, x]);
    assert.throws(() => first.act([1, 2, 3, NaN]), RangeError);
    return Array.from(first.act(x));
});
assert.deepEqual(beside, alone);
assert.notDeepEqual(first.state, second.state);
const { action, state } = one.predict(observations[29], { state: first.state });
const into = new Float32Array(3);
assert.equal(first.act(observations[29], { into }), into);
assert.deepEqual(into, action);
assert.deepEqual(first.state, state);
""",
    )


@pytest.mark.parametrize("name", ["cartpole", "pendulum"])
def test_calls_leave_memory_as_it_is(name: str, folder: Path) -> None:
    run(
        folder,
        name,
        f"""
const policy = await load();
const [size] = SPEC.observation.shape;
const observation = new Float32Array(size).fill(0.1);
const options = SPEC.action.kind === "Box" ? {{ into: new Float32Array(1) }} : undefined;
const calls = (count) => {{ for (let i = 0; i < count; i++) policy.act(observation, options); }};
const measured = () => {{ gc(); return process.memoryUsage(); }};
// What calls leave grows in each round; what the engine learns about them, sometimes 200 KB at once, does not.
const growth = {{ heapUsed: Infinity, arrayBuffers: Infinity }};
for (let round = 0; round < 4; round++) {{
    const before = measured();
    calls(20_000);
    const after = measured();
    for (const part in growth) growth[part] = Math.min(growth[part], after[part] - before[part]);
}}
assert.ok(growth.heapUsed < 100_000, `${{growth.heapUsed}} bytes`);
assert.ok(growth.arrayBuffers < 10_000, `${{growth.arrayBuffers}} bytes`);
const {{ instance }} = await WebAssembly.instantiate(await readFile("{name}/{name}.wasm"));
assert.throws(() => instance.exports.memory.grow(1), RangeError);
""",
    )


def test_the_module_says_what_it_is_and_can_not_be_changed(folder: Path) -> None:
    digest = made("cartpole").sources.view.predictor.model_sha256
    run(
        folder,
        "cartpole",
        f"""
assert.equal(SPEC.name, "cartpole");
assert.equal(SPEC.sha256, "{digest}");
assert.deepEqual(SPEC.observation, {{ kind: "Box", shape: [4], dtype: "float32" }});
assert.deepEqual(SPEC.action, {{ kind: "Discrete", n: 2 }});
assert.throws(() => {{ SPEC.action.n = 3; }}, TypeError);
const policy = await load();
assert.throws(() => {{ policy.act = null; }}, TypeError);
for (const source of [await readFile("cartpole/cartpole.wasm"), "./cartpole.scalar.wasm"]) {{
    assert.equal((await load(source)).act([0.1, 0.2, -0.3, 0.4]), policy.act([0.1, 0.2, -0.3, 0.4]));
}}
const other = await readFile("pendulum/pendulum.wasm");
await assert.rejects(load(other), /the WebAssembly module and cartpole.mjs are of different builds/);
await assert.rejects(load(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])), /are of different builds/);
""",
    )


def test_what_is_not_finite_is_computed_with_where_the_build_says_so(tmp_path: Path) -> None:
    policy = make(KINDS["cartpole"](), "cartpole", nonfinite="propagate")
    (tmp_path / "cartpole").mkdir()
    for name, data in policy.files.items():
        (tmp_path / "cartpole" / name).write_bytes(data)
    run(
        tmp_path,
        "cartpole",
        """
const policy = await load();
assert.ok(policy.scores([0, NaN, 0, 0]).every(Number.isNaN));
assert.throws(() => policy.act([0, "1", 0, 0]), TypeError);
""",
    )


def test_hostile_keys_stay_in_their_literals() -> None:
    text = b"".join(made("keys").files[f"keys{ending}"] for ending in (".mjs", ".d.mts")).decode("ascii")
    assert "</script" not in text
    assert '["__proto__"]: {' in text


USES = {
    "cartpole": """
import { load, SPEC } from "./cartpole/cartpole.mjs";
const policy = await load({ simd: false });
const action: 0 | 1 = policy.act([1, 2, 3, 4]);
const two: 2 = SPEC.action.n;
const many: Int32Array = policy.predict([[1, 2, 3, 4], new Float32Array(4)]);
const counted: Int32Array = policy.predict(new Float32Array(8), { count: 2 });
const one: 0 | 1 = policy.predict(new Float64Array(4));
const scores: Float32Array = policy.scores([1, 2, 3, 4]);
// @ts-expect-error: no text
policy.act("1234");
// @ts-expect-error: no matrix
policy.act([[1, 2, 3, 4]]);
// @ts-expect-error: nothing to write to
SPEC.action.n = 3;
""",
    "dict": """
import { load, type Observation } from "./dict/dict.mjs";
const policy = await load(new URL("./dict.wasm", "file:///"));
const camera = new Uint8Array(72);
const observation: Observation = { camera, gear: 1, switches: [[true, 0], [1, 0]], dials: [1, 2], speed: [1, 2, 3, 4] };
const action: Float32Array = policy.act(observation, { into: new Float32Array(3), layout: "HWC" });
const actions: Float32Array = policy.predict([observation, observation]);
// @ts-expect-error: a part is missing
policy.act({ camera, gear: 1, dials: [1, 2], speed: [1, 2, 3, 4] });
// @ts-expect-error: no choice is a text
policy.act({ ...observation, gear: "1" });
""",
    "memory": """
import { load, type State } from "./memory/memory.mjs";
const policy = await load();
const episode = policy.episode();
const action: 0 | 1 | 2 = episode.act([1, 2, 3, 4]);
const state: State = policy.predict([1, 2, 3, 4], { state: episode.state, episode_start: true }).state;
// @ts-expect-error: no state to set
episode.state = state;
""",
    "masked": """
import { load } from "./masked/masked.mjs";
const policy = await load();
const action: Int32Array = policy.act([1, 2, 3, 4], { action_masks: [1, 1, 1, 1, 1, 0, 0, 0, true] });
// @ts-expect-error: masks are no text
policy.act([1, 2, 3, 4], { action_masks: "111" });
""",
}
"""What a program does with a policy, and what it can't."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_types_are_strict(kind: str, folder: Path) -> None:
    compiler = shutil.which("tsc") or pytest.skip("tsc is not installed")
    (folder / f"{kind}.mts").write_text(USES.get(kind, "") + f'import "./{kind}/{kind}.mjs";\n', "utf-8")
    settings = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext"]
    done = subprocess.run([compiler, *settings, f"{kind}.mts"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
