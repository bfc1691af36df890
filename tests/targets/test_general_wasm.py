"""
Models that are no policies as WebAssembly: what the ES module around it gives in Node.js, what it refuses, its types.
"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from compiler.verify_package import verify_package
from tests.general_models import MODELS, assert_alike, built, camera, expected_of, inputs_of, mixed, wide
from tests.targets.wasm_files import tool

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("ask_model.mjs")
STEP = "{x: [1, 2]}"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wasm")
    return {name: built(make(), folder, target="wasm").path for name, make in MODELS.items()}


def asked(folder: Path, *calls: str, simd: bool = True) -> list:
    node, jobs = tool("node", "nodejs"), folder.parent / "jobs.json"
    jobs.write_text(json.dumps(calls), "utf-8")
    command = [node, SCRIPT, folder / f"{folder.name}.mjs", jobs, "simd" if simd else "scalar"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    results: list = json.loads(done.stdout)
    return results


def written(inputs: list[np.ndarray], *, flat: bool = False) -> str:
    values = [array.ravel() if flat else array for array in inputs]
    names = ("double", "count", "weights")
    return json.dumps({name: array.tolist() for name, array in zip(names, values, strict=True)})


@pytest.mark.parametrize("simd", [True, False])
def test_every_dtype_alone_and_in_a_batch(folders, simd):
    inputs = inputs_of(mixed(), 70)  # more than are computed at a time
    one = [array[3] for array in inputs]
    typed = (
        f"{{double: new Float32Array({one[0].ravel().tolist()}), count: BigInt64Array.from({one[1].tolist()}, BigInt), "
    )
    typed += f"weights: new Uint8Array({one[2].astype(int).tolist()})}}"
    calls = [
        f"model.predictBatch({written(inputs)}, 70)",
        f"model.predictBatch({written(inputs, flat=True)}, 70)",
        f"model.predict({written(one)})",
        f"model.predict({written(one, flat=True)})",
        f"model.predict({typed})",
    ]
    many, flat, *alone = asked(folders["mixed"], *calls, simd=simd)
    assert many == flat
    expected = expected_of(mixed(), inputs)
    kinds = {"scores": "Float32Array", "int": "Float64Array", "room": "Uint8Array"}
    for found, rows in ((many, slice(None)), *((one, slice(3, 4)) for one in alone)):
        assert {name: values[0] for name, values in found.items()} == kinds
        arrays = [
            np.array(values[1:], right.dtype).reshape(right[rows].shape)
            for values, right in zip(found.values(), expected, strict=True)
        ]
        assert_alike((arrays[0].astype(np.float32), *arrays[1:]), [right[rows] for right in expected])


def test_bytes_in_every_form(folders):
    frame, letters = inputs_of(camera(), 70)
    one, four = frame[3].ravel().tolist(), letters[3].tolist()
    calls = [
        f"model.predictBatch({{frame: {frame.tolist()}, letters: {letters.tolist()}}}, 70)",
        f"model.predict({{frame: {frame[3].tolist()}, letters: {four}}})",
        *(
            f"model.predict({{frame: new {kind}({one}), letters: new {kind}({four})}})"
            for kind in ("Uint8Array", "Uint8ClampedArray", "Int16Array", "Float32Array")
        ),
    ]
    many, *alone = asked(folders["camera"], *calls)
    expected = expected_of(camera(), [frame, letters])
    for found, rows in ((many, slice(None)), *((each, slice(3, 4)) for each in alone)):
        arrays = [np.array(found["scores"][1:], np.float32).reshape(-1, 3), np.array(found["light"][1:], np.int64)]
        assert_alike(tuple(arrays), [right[rows] for right in expected])


REFUSED_CAMERA = {
    "[0, 0, 0, 256]": "RangeError: inputs.letters: expected whole numbers from 0 to 255, found 256",
    "[0, 0, 0, -1]": "RangeError: inputs.letters: expected whole numbers from 0 to 255, found -1",
    "new Float32Array([0, 0, 0, 0.5])": "RangeError: inputs.letters: expected whole numbers from 0 to 255, found 0.5",
    "[0, 0, 0, true]": "RangeError: inputs.letters: expected whole numbers from 0 to 255, found true",
    "[0, 0, 0, 1n]": "RangeError: inputs.letters: expected whole numbers from 0 to 255, found 1",
    "new Uint8Array([0, 0, 0, 9])": "RangeError: inputs: a whole number is not between its bounds",
}


def test_what_is_no_byte_is_refused(folders):
    calls = [f"model.predict({{frame: new Uint8Array(60), letters: {letters}}})" for letters in REFUSED_CAMERA]
    for found, said in zip(asked(folders["camera"], *calls), REFUSED_CAMERA.values(), strict=True):
        assert found.startswith(said)


def test_exactly_one_observation(folders):
    inputs = inputs_of(wide(), 1)
    question = json.dumps({"x": inputs[0][0].tolist()})
    found, batch = asked(folders["wide"], f"model.predict({question})", "typeof model.predictBatch")
    np.testing.assert_allclose(found["y"][1:], expected_of(wide(), inputs)[0][0], 1e-5, 1e-5)
    assert batch == "undefined"


def test_states_are_passed_on_and_kept(folders):
    episodes = f"""(() => {{
        const [one, other] = [model.episode(), model.episode()];
        const found = [one.predict({STEP}), one.predict({STEP}), other.predict({STEP})];
        try {{ one.predict({{x: [NaN, 0]}}); }} catch {{}}
        found.push(one.predict({STEP}));
        one.reset();
        found.push(one.predict({STEP}));
        return found.map((outputs) => Array.from(outputs.y));
    }})()"""
    passed = f"model.predict({STEP}, model.predict({STEP}).state)"
    found, kept = asked(folders["counter"], passed, episodes)
    assert found == {"outputs": {"y": ["Float32Array", 6, 10]}, "state": {"total": ["Float32Array", 3, 5]}}
    assert kept == [[4, 6], [6, 10], [4, 6], [8, 14], [4, 6]]


REFUSED_COUNTER = {
    "[1, 2]": "TypeError: inputs: expected an object with x, found Array",
    "{}": "RangeError: inputs: expected x, found no x",
    "{x: [1, 2], y: 3}": "RangeError: inputs: expected x, found y",
    "{x: [1, 2, 3]}": "RangeError: inputs.x: expected shape [2], or 2 values, found [3]",
    "{x: 'ab'}": "TypeError: inputs.x: expected an array of shape [2], found string",
    "{x: [1, null]}": "TypeError: inputs.x: expected numbers, found null",
    "{x: BigInt64Array.of(1n, 2n)}": "TypeError: inputs.x: expected numbers, found bigint",
    "{x: [1, Infinity]}": "RangeError: inputs.x: expected finite numbers, found Infinity as number 1",
    f"{STEP}, {{total: [NaN, 1]}}": "RangeError: state: expected finite numbers",
    f"{STEP}, {{sum: [1, 1]}}": "RangeError: state: expected total, found no total",
}
REFUSED_MIXED = {
    "double: [[1, 2, 3], [4, 5]]": "RangeError: inputs.double: expected arrays of shape [2, 3], found an array of 2 in",
    "count: [0, 0, 0.5, 0]": "TypeError: inputs.count: expected whole numbers, found 0.5",
    "count: [0, 0, 2 ** 25, 0]": "RangeError: inputs.count: whole numbers must be between -16777216 and 16777216, f",
    "weights: [1, 1, 2]": "TypeError: inputs.weights: expected true or false, found 2",
}


def test_what_is_refused(folders):
    calls = [f"model.predict({given})" for given in REFUSED_COUNTER]
    for found, said in zip(asked(folders["counter"], *calls), REFUSED_COUNTER.values(), strict=True):
        assert found.startswith(said)
    usual = "double: [1, 2, 3, 4, 5, 6], count: [0, 0, 0, 0], weights: [1, 1, 1]"
    calls = [f"model.predict({{{usual}, {changed}}})" for changed in REFUSED_MIXED]
    for found, said in zip(asked(folders["mixed"], *calls), REFUSED_MIXED.values(), strict=True):
        assert found.startswith(said)
    (found,) = asked(folders["mixed"], f"model.predictBatch({{{usual}}}, 0)")
    assert found == "RangeError: count: expected a whole number of at least 1, found 0"


def test_a_module_of_another_build_is_refused(folders, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(folders["mixed"], folder)
    shutil.copy(folders["wide"] / "wide.wasm", folder / "mixed.wasm")
    (tmp_path / "jobs.json").write_text("[]", "utf-8")
    command = [tool("node", "nodejs"), SCRIPT, folder / "mixed.mjs", tmp_path / "jobs.json", "simd"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert "the WebAssembly module and mixed.mjs are of different builds" in done.stderr


def test_it_says_what_goes_in_and_comes_out(folders):
    (spec,) = asked(folders["counter"], "SPEC")
    assert spec["inputs"] == [{"name": "x", "shape": [2], "dtype": "float32"}]
    assert spec["states"] == [{"name": "total", "shape": [2], "dtype": "float32"}]
    types = (folders["counter"] / "counter.d.mts").read_text("utf-8")
    assert "export function load(options?: LoadOptions): Promise<Model>;" in types
    assert 'readonly "x": readonly number[] | NumericArray;' in types


@pytest.mark.parametrize("name", MODELS)
def test_types_are_typescript(folders, name, tmp_path):
    assert_typescript(folders[name], tmp_path)


def assert_typescript(folder: Path, tmp_path: Path) -> None:
    compiler = tool("tsc")
    use = tmp_path / "use.mts"
    use.write_text(
        f'import {{ load, SPEC }} from "{folder}/{folder.name}.mjs";\nload().then(() => SPEC.name);\n', "utf-8"
    )
    subprocess.run([compiler, "--noEmit", "--strict", "--target", "es2022", "--module", "node16", use], check=True)


@pytest.mark.parametrize("name", ["camera", "counter", "mixed"])
def test_verify_compares_modules_with_their_model_file(folders, name):
    assert verify_package(folders[name]).verification.observations == 8
