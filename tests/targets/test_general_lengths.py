"""
Models whose sequences have a length that is known at run time, on the targets that are compiled ahead of time.
"""

import importlib
import json
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import compiler
from compiler import products
from compiler.codegen.general_module import GeneralModuleView
from compiler.ops import Array
from compiler.ops.lengths import at_length
from compiler.options import BuildOptions
from compiler.pipeline import run_passes
from compiler.targets.general_wasm import Bridge
from compiler.targets.wasm import variants
from compiler.verify_package import verify_package
from tests.frontends.test_lengths import KINDS, dynamic_of, randomised
from tests.general_models import assert_alike, built, expected_of, inputs_of, sentences
from tests.targets.test_general_c import example_in, library_in
from tests.targets.test_general_exe import answers
from tests.targets.test_general_native import assert_formatted_and_typed
from tests.targets.test_general_wasm import asked as said_by_node
from tests.targets.test_general_wasm import assert_typescript
from tests.thorough import chosen

pytestmark = pytest.mark.slow

HERE = {"cpu": "native"}
LEAST, MOST = 2, 20
LENGTHS = (LEAST, 7, MOST)
OK, WRONG_SIZE, NOT_FINITE, WRONG_LENGTH = 0, -1, -2, -5
TARGETS = ("native", "c", "exe", "wasm")
PROCESSORS = ("aarch64-linux-musl", "armv7-linux-musleabihf", "thumbv7em-none-eabihf")
EACH = [(name, target) for name in KINDS for target in TARGETS]


def asked(length: int, rows: int, seed: int = 0) -> tuple[list[Array], list[Array]]:
    """
    Random inputs of a length, and what the model gives for them.
    """
    model = at_length(sentences(), length)
    inputs = inputs_of(model, rows, seed)
    return inputs, expected_of(model, inputs)


def nothing(length: int, rows: int) -> list[Array]:
    """
    Room for outputs, with values that are none.
    """
    shapes = ((length, 4), (length,), (length + 1,), (4,))
    dtypes = (np.float32, np.int64, np.uint8, np.float32)
    return [np.full((rows, *shape), 7, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]


@pytest.mark.parametrize(("name", "target"), chosen(EACH, ("averaged", "exe")))
def test_modules_of_pytorch_are_built_and_verified(tmp_path, name, target):
    made, examples, least = KINDS[name]
    options: dict[str, Any] = {"target": target, **({} if target == "wasm" else HERE)}
    module, dynamic = randomised(made()), dynamic_of(name, least)
    build = compiler.build(module, out=tmp_path, name=name, example_inputs=examples, dynamic=dynamic, **options)
    assert build.report.verification.observations > 8
    assert verify_package(build.path).verification.observations > 8


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return built(sentences(), tmp_path_factory.mktemp("native"), target="native", **HERE)


@pytest.fixture(scope="module")
def module(package):
    return package.load()


def test_a_package_takes_all_lengths_and_no_others(module):
    assert module.SPEC["length"] == {"name": "steps", "least": LEAST, "most": MOST}
    for length in (*LENGTHS, 3, MOST, 4):
        inputs, expected = asked(length, 3, length)
        assert_alike(module.predict(*inputs), expected)
        assert_alike(module.predict(*(array[1] for array in inputs)), [np.asarray(array[1]) for array in expected])
    for length in (LEAST - 1, MOST + 1):
        with pytest.raises(ValueError, match=r"length: expected shape \(2 to 20, 3\), or a batch of it, found"):
            module.predict(np.ones((length, 3)), np.ones(length, int), np.ones(length + 1, bool))
    steps, words, flags = asked(5, 2)[0]
    with pytest.raises(ValueError, match="all inputs must have one length, found 4 and 5"):
        module.predict(steps, words[:, 1:], flags)
    with pytest.raises(ValueError, match="words: expected whole numbers from 0 to 8, found 9"):
        module.predict(steps, words * 0 + 9, flags)
    with pytest.raises(ValueError, match="NaN or infinity"):
        module.predict(steps * np.nan, words, flags)


def test_an_extension_takes_exactly_what_a_length_needs(module):
    native = sys.modules[f"{module.__name__}._native"]
    given = [array.reshape(-1) for array in asked(5, 2)[0]]
    results: list[Array] = [
        np.empty(n, d) for n, d in ((40, np.float32), (10, np.int64), (12, np.bool_), (8, np.float32))
    ]
    assert native.predict_rows(2, 5, *given, *results) == 0
    for rows, length in (
        (1, 10),
        (10, 1),
        (2, 4),
        (2, 6),
        (2, LEAST - 1),
        (2, MOST + 1),
        (2, 2**62),
        (2, -5),
        (-2, -5),
    ):
        assert native.predict_rows(rows, length, *given, *results) == WRONG_SIZE
    assert native.predict_rows(2, None, *given, *results) == WRONG_SIZE
    assert native.predict_rows(2, 5, *(array[:-1] for array in given), *results) == WRONG_SIZE
    for length in (LEAST - 1, MOST + 1):  # all arrays fit, and the room does not
        fitting = [array.reshape(-1) for array in (*asked(length, 1)[0], *nothing(length, 1))]
        fitting[5] = fitting[5].astype(bool)
        assert native.predict_rows(1, length, *fitting) == WRONG_SIZE
    with pytest.raises(TypeError, match="predict_rows: expected 9 arguments, found 8"):
        native.predict_rows(2, *given, *results)


def test_threads_of_python_ask_for_other_lengths_at_once(module):
    wrong = []

    def ask(length: int) -> None:
        inputs, expected = asked(length, 2)
        for _ in range(300):
            found = module.predict(*inputs)
            if not np.allclose(found.scores, expected[0], 1e-5, 1e-5):
                wrong.append(length)

    threads = [threading.Thread(target=ask, args=(length,)) for length in range(LEAST, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_large_batch_is_divided_among_threads_with_the_same_bits(module, monkeypatch):
    face = sys.modules[f"{module.__name__}.predictor"]
    divided = importlib.import_module(f"{module.__name__}.threads")
    called: list[tuple[int, int]] = []

    def predict_part(rows: int, length: int, *arrays: Array) -> int:
        called.append((rows, length))
        status: int = face.predict_rows(rows, length, *arrays)
        return status

    monkeypatch.setattr(divided, "THREADS", 2)
    monkeypatch.setattr(divided, "predict_part", predict_part)
    rows = face.THREADS_FROM // 5 + 3
    inputs, _ = asked(5, rows)
    found = module.predict(*inputs)
    assert sorted(called) == [(rows // 2, 5), (rows - rows // 2, 5)]
    for first in range(0, rows, rows // 4):
        some = module.predict(*(array[first : first + 9] for array in inputs))
        assert all(np.array_equal(one[first : first + 9], other) for one, other in zip(found, some, strict=True))


def test_packages_of_sequences_are_formatted_and_typed(package, mypy_cache):
    assert_formatted_and_typed([package.path], mypy_cache)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return built(sentences(), tmp_path_factory.mktemp("c"), target="c", **HERE).path


def test_a_library_computes_as_many_steps_as_it_is_told(folder):
    library = library_in(folder, sentences())
    for length in LENGTHS:
        inputs, expected = asked(length, 3, length)
        room = nothing(length, 4)
        many = [array[:3] for array in room]
        assert library.predict_batch(3, inputs, many, length) == OK
        assert all((array[3] == 7).all() for array in room)
        assert_alike((*many[:2], many[2].astype(bool), many[3]), expected)
        one = nothing(length, 1)
        assert library.predict([array[1] for array in inputs], one, length) == OK
        assert all(np.array_equal(own[0], right[1]) for own, right in zip(one, many, strict=True))
        inputs[0][2, length - 1, 0] = np.nan  # the last step is looked at
        assert library.predict_batch(3, inputs, many, length) == NOT_FINITE


def test_a_library_refuses_other_lengths_before_it_touches_anything(folder):
    library = library_in(folder, sentences())
    inputs = asked(MOST, 1)[0]
    for length in (0, LEAST - 1, MOST + 1, 2**32 + LEAST, 2**64 - 1):
        found = nothing(MOST, 1)
        assert library.predict(inputs, found, length) == WRONG_LENGTH
        assert library.predict_batch(1, inputs, found, length) == WRONG_LENGTH
        assert all((array == 7).all() for array in found)
    assert "the length of the sequences must be from 2 to 20" in (folder / "libsentences.so").read_bytes().decode(
        "latin"
    )


def test_beginning_anew_leaves_no_garbage(folder):
    library = library_in(folder, sentences())
    room = np.frombuffer(library._state.room, np.float32)
    room[:] = 1e-41
    library.reset()
    assert not room.any()


def test_the_example_finds_the_length(folder, tmp_path):
    program = example_in(folder, tmp_path)
    for length in LENGTHS:
        inputs, expected = asked(length, 1)
        words = [f"{x:.9g}" for array in inputs for x in array[0].ravel().astype(float)]
        said = subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout.splitlines()
        found = [np.array(line.split()[1:], float) for line in said]
        for own, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(own, right[0].ravel(), 1e-5, 1e-5)
    done = subprocess.run([program, "1", "1"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "there is no observation of 2 values\n")
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()[0].split()) == 1 + MOST * 4


@pytest.mark.parametrize("triple", chosen(PROCESSORS, "thumbv7em-none-eabihf"))
def test_libraries_for_other_processors(tmp_path, triple):
    build = built(sentences(), tmp_path, target="c", triple=triple)
    assert build.report.verification.observations > 8
    if "memory" in build.made:
        assert 0 < build.made["memory"]["stack"] < 2000


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return built(sentences(), tmp_path_factory.mktemp("exe"), target="exe", **HERE).path / "sentences"


def request(inputs: list[Array], *, flat: bool = False, backwards: bool = False) -> dict[str, Any]:
    named = zip(("length", "words", "flags"), (a[0].ravel() if flat else a[0] for a in inputs), strict=True)
    values = {name: array.tolist() for name, array in named}
    return {"inputs": dict(reversed(values.items())) if backwards else values}


def test_a_program_finds_the_length_in_what_it_is_given(program):
    for length in LENGTHS:
        inputs, expected = asked(length, 1, length)
        ways = [{}, {"flat": True}, {"backwards": True}, {"flat": True, "backwards": True}]
        found = answers(program, *(request(inputs, **way) for way in ways))
        assert all(one == found[0] for one in found)
        outputs = found[0]["outputs"]
        for (name, values), right in zip(outputs.items(), expected, strict=True):
            assert np.shape(values) == right.shape[1:], name
            np.testing.assert_allclose(values, right[0], 1e-5, 1e-5)


REFUSED = {
    '"words": [1]': "expected 2 to 20 values, found 1",
    '"words": [' + "1," * 20 + "1]": "expected 2 to 20 values, found more",
    '"words": 3': "expected an array of 2 to 20 values, found 3",
    '"words": []': "expected 2 to 20 values, found 0",
    '"words": [1,1,1], "flags": [1,1,1]': "expected 4 values where the length is 3, found 3",
    '"words": [1,1,1], "flags": [1,1,1,1,1]': "expected 4 values where the length is 3, found more",
    '"length": [1,2,3,4,5,6,7]': "expected 6 to 60 values, as a length has, found 7",
    '"length": [1,2,3]': "expected 6 to 60 values, as a length has, found 3",
    '"length": [[1,2,3]]': "expected 2 to 20 values, found 1",
    '"length": [[1,2,3],[1,2]]': 'inputs["length"][1]: expected 3 values, found 2',
    '"length": [[1,2,3],[1,2,3,4]]': 'inputs["length"][1]: expected 3 values, found more',
    '"length": [[1,2,3],4]': 'inputs["length"][1]: expected an array of 3 values, found 4',
    '"length": [[1,2,3],[4,5,6]], "words": [1,2,3]': "expected 2 values where the length is 2, found more",
    '"length": [1,2,3,4,5,6], "words": [1,2,3]': "expected 2 values where the length is 2, found more",
    '"words": [1,2], "length": [1,2,3,4,5]': "expected 6 values where the length is 2, found 5",
    '"words": [1,2,]': 'inputs["words"][2]: expected an integer',
    '"words": [1 2]': 'inputs["words"][1]: expected ,, found 2',
    '"words": [1,2': 'inputs["words"][2]: expected ,, found }',
}


def test_a_program_says_which_lengths_there_are(program):
    found = answers(program, *(f'{{"inputs": {{{given}}}}}' for given in REFUSED), request(asked(5, 1)[0]))
    for one, said in zip(found[:-1], REFUSED.values(), strict=True):
        assert one["status"] == -1
        assert said in one["error"]
    assert "outputs" in found[-1]


def test_what_a_program_says_of_lengths(program):
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    assert "length: from 2 to 20, one for all inputs; their values say it" in said
    assert '"length": float32, 2 dimensions (length, 3)' in said
    assert max(map(len, said.splitlines())) <= 120
    subprocess.run([program, "--bench", "10"], capture_output=True, check=True)
    assert verify_package(program.parent).verification.observations > 8


@pytest.fixture(scope="module")
def wasm(tmp_path_factory):
    return built(sentences(), tmp_path_factory.mktemp("wasm"), target="wasm").path


def written(inputs: list[Array], *, flat: bool = False) -> str:
    values = (array.ravel() if flat else array for array in inputs)
    return json.dumps({name: array.tolist() for name, array in zip(("length", "words", "flags"), values, strict=True)})


@pytest.mark.parametrize("simd", [True, False])
def test_a_module_finds_the_length_in_what_it_is_given(wasm, simd):
    for length in LENGTHS:
        inputs, expected = asked(length, 70, length)
        one = [array[3] for array in inputs]
        calls = [f"model.predictBatch({written(inputs, flat=flat)}, 70)" for flat in (False, True)]
        calls += [f"model.predict({written(one, flat=flat)})" for flat in (False, True)]
        calls.append(f"model.predict({{...{written(one)}, length: new Float32Array({one[0].ravel().tolist()})}})")
        many, flat, *alone = said_by_node(wasm, *calls, simd=simd)
        assert many == flat
        for found, rows in ((many, slice(None)), *((each, slice(3, 4)) for each in alone)):
            for (kind, *values), right in zip(found.values(), expected, strict=True):
                assert kind == {"f": "Float32Array", "i": "Float64Array", "b": "Uint8Array"}[right.dtype.kind]
                np.testing.assert_allclose(values, right[rows].ravel(), 1e-5, 1e-5)


REFUSED_IN_JAVASCRIPT = {
    "length: [[1, 2, 3]]": "RangeError: inputs.length: expected an array of shape [2 to 20, 3], found [1, 3]",
    "length: Array(7).fill(1)": "RangeError: inputs.length: expected an array of shape [2 to 20, 3], found [7]",
    "words: Array(21).fill(1)": "RangeError: inputs.words: expected an array of shape [2 to 20], found [21]",
    "flags: Array(22).fill(true)": "RangeError: inputs.flags: expected an array of shape [3 to 21], found [22]",
    "words: 'ab'": "TypeError: inputs.words: expected an array of shape [2 to 20], found string",
    "words: [1, 1, 1]": "RangeError: inputs: expected one length, found 2 in length, 3 in words, 2 in flags",
    "length: [[1, 2], [3, 4], [5, 6]]": "RangeError: inputs.length: expected shape [2, 3], or 6 values, found [3, 2]",
    "length: [[1, 2, 3], [4, NaN, 6]]": "RangeError: inputs.length: expected finite numbers, found NaN as number 4",
    "words: [1, 9]": "RangeError: inputs: a whole number is not between its bounds",
}


def test_a_module_says_which_lengths_there_are(wasm):
    usual = "length: [1, 2, 3, 4, 5, 6], words: [1, 1], flags: [true, true, true]"
    calls = [f"model.predict({{{usual}, {changed}}})" for changed in REFUSED_IN_JAVASCRIPT]
    assert said_by_node(wasm, *calls) == list(REFUSED_IN_JAVASCRIPT.values())
    (spec, found) = said_by_node(wasm, "SPEC", f"model.predictBatch({{{usual}}}, 2)")
    assert spec["length"] == {"name": "steps", "least": LEAST, "most": MOST}
    assert found == "RangeError: inputs.length: expected an array of shape [2, 2 to 20, 3], found [6]"


def test_types_of_sequences_are_typescript(wasm, tmp_path):
    types = (wasm / "sentences.d.mts").read_text("utf-8")
    assert "/** bool, of shape [length + 1]. */" in types
    assert "The length of sequences is from 2 to 20." in types
    assert_typescript(wasm, tmp_path)


def test_a_module_refuses_lengths_that_it_has_no_memory_for(wasm):
    options, triple = products.resolve(BuildOptions(target="wasm"))
    sources = products.made_before(run_passes(sentences(), options), options, triple, "sentences").sources
    assert sources is not None
    for variant, name in zip(variants(sources), ("sentences.scalar.wasm", "sentences.wasm"), strict=True):
        assert variant.general is not None
        bridge = Bridge((wasm / name).read_bytes(), GeneralModuleView(variant.general), sources.weights)
        statuses = [bridge.run(bridge.store, 1, length) for length in (-1, LEAST - 1, LEAST, MOST, MOST + 1)]
        assert statuses == [WRONG_LENGTH, WRONG_LENGTH, OK, OK, WRONG_LENGTH]
