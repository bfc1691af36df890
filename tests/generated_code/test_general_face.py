"""
The face of a predictor that is no policy's: what it takes, what it refuses, what it gives.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler.errors import UnsupportedError
from compiler.ir import BATCH, DType, Model, Output
from compiler.ops.builder import GraphBuilder
from compiler.ops.reference import evaluate
from tests.general_models import ORIGIN, WORDS, assert_alike, camera, counter, expected_of, inputs_of
from tests.general_models import mixed as mixed_model
from tests.models import write

RNG = np.random.default_rng(0)


def several() -> Model:
    """
    Every dtype in and out, with names that mean something else in Python.
    """
    return mixed_model("several", ("import", "words", "weights"), ("scores", "chosen", "kept"))


def layer(*, batched: bool = True) -> Model:
    graph = GraphBuilder()
    source = graph.input("x", DType.FLOAT32, (BATCH, 4))
    weight, bias = (RNG.normal(size=shape).astype(np.float32) for shape in ((3, 4), (3,)))
    inputs = [source, graph.constant("weight", weight), graph.constant("bias", bias)]
    result = graph.add("tanh", [graph.add("linear", inputs, "layer")], "tanh")
    return Model("layer", tuple(graph.nodes), graph.tensors, ("x",), (Output("y", result),), ORIGIN, batched=batched)


def loaded(model: Model, folder, **choices):
    return compiler.build(model, out=folder, name=model.name, **choices).load()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return loaded(several(), tmp_path_factory.mktemp("several"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return loaded(layer(), tmp_path_factory.mktemp("layer"))


def inputs(count: int):
    image = RNG.normal(size=(count, 2, 3)).astype(np.float32)
    return image, RNG.integers(0, 9, (count, 4)), RNG.integers(0, 2, (count, 3)).astype(bool)


def test_all_dtypes_alone_and_in_a_batch(mixed):
    given = inputs(5)
    model = several()
    found = mixed.predict(*given)
    assert found._fields == ("scores", "chosen", "kept")
    assert [array.dtype for array in found] == [np.float32, np.int64, np.bool_]
    assert [array.shape for array in found] == [(5, 2, 3), (5, 2), (5, 2, 3)]
    for row in range(5):
        for one, all_ in zip(mixed.predict(*(array[row] for array in given)), found, strict=True):
            np.testing.assert_array_equal(one, all_[row])
    assert found.kept.any()
    assert not found.kept.all()
    assert {entry["name"] for entry in mixed.SPEC["inputs"]} == set(model.inputs)


def test_what_it_gives_is_what_the_model_computes(tmp_path):
    model = several()
    predictor, given = loaded(model, tmp_path), inputs(4)
    values = evaluate(model, dict(zip(model.inputs, given, strict=True)))
    for output, found in zip(model.outputs, predictor.predict(*given), strict=True):
        np.testing.assert_allclose(found, values[output.tensor], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "form",
    [
        lambda row: row.tolist(),
        lambda row: row.astype(np.float64),
        lambda row: np.repeat(row, 2)[::2],
        lambda row: row[None],
    ],
    ids=["list", "float64", "strided", "batch of one"],
)
def test_forms_of_an_observation(plain, form):
    row = RNG.normal(size=4).astype(np.float32)
    np.testing.assert_array_equal(np.reshape(plain.predict(form(row)), 3), plain.predict(row))


def test_whole_numbers_and_flags_are_numbers(plain):
    np.testing.assert_array_equal(
        plain.predict(np.array([1, 0, 1, 1])), plain.predict(np.array([1, 0, 1, 1], np.float32))
    )
    np.testing.assert_array_equal(
        plain.predict([True, False, True, True]), plain.predict(np.array([1, 0, 1, 1], np.float32))
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros(5, np.float32), r"x: expected shape \(4,\), or a batch of it, found \(5,\)"),
        (np.zeros((0, 4), np.float32), r"found \(0, 4\)"),
        (np.zeros((2, 2, 4), np.float32), r"found \(2, 2, 4\)"),
        (np.float32(1), r"found \(\)"),
        (["a"] * 4, "x: expected float32, found"),
        (np.zeros(4, np.complex64), "x: expected float32, found complex64"),
        (None, "x: expected float32, found object"),
        (np.array([0, np.nan, 0, 0], np.float32), "NaN or infinity"),
        (np.full((3, 4), np.inf), "NaN or infinity"),
    ],
)
def test_what_is_refused(plain, given, said):
    with pytest.raises(ValueError, match=said):
        plain.predict(given)


def test_whole_numbers_that_are_none_or_too_large(mixed):
    image, words, flags = inputs(1)
    with pytest.raises(ValueError, match="words: expected int64, found float64"):
        mixed.predict(image, words.astype(np.float64), flags)
    with pytest.raises(ValueError, match="words: expected whole numbers from 0 to 8, found 1099511627"):
        mixed.predict(image, words + 2**40, flags)
    with pytest.raises(ValueError, match="weights: expected bool, found int64"):
        mixed.predict(image, words, flags.astype(np.int64))


@pytest.fixture(scope="module")
def bytewise(tmp_path_factory):
    return loaded(camera(), tmp_path_factory.mktemp("camera"))


def test_bytes_alone_and_in_a_batch(bytewise):
    given = inputs_of(camera(), 9)
    given[0][0] = np.arange(196, 256).reshape(1, 2, 6, 5)
    expected = expected_of(camera(), given)
    assert_alike(bytewise.predict(*given), expected)
    for row in range(9):
        assert_alike(bytewise.predict(*(array[row] for array in given)), [np.asarray(array[row]) for array in expected])
    assert [entry["dtype"] for entry in bytewise.SPEC["inputs"]] == ["uint8", "uint8"]


def test_bytes_are_taken_where_they_are(bytewise, monkeypatch):
    frame, letters = (array[0] for array in inputs_of(camera(), 1))
    right = bytewise.predict(frame, letters)
    monkeypatch.setattr(sys.modules[f"{bytewise.__name__}.predictor"], "_converted", None)
    np.testing.assert_array_equal(bytewise.predict(frame, letters).scores, right.scores)
    with pytest.raises(TypeError):
        bytewise.predict(frame.astype(np.int64), letters)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.uint64, None], ids=str)
def test_other_whole_numbers_are_taken_as_bytes(bytewise, dtype):
    given = [np.minimum(array, 127) for array in inputs_of(camera(), 3)]
    others = [array.astype(dtype) if dtype else array.tolist() for array in given]
    for found, right in zip(bytewise.predict(*others), bytewise.predict(*given), strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.int64(256), "frame: expected whole numbers from 0 to 255, found 256"),
        (np.int8(-1), "frame: expected whole numbers from 0 to 255, found -1"),
        (np.uint64(2**64 - 1), "frame: expected whole numbers from 0 to 255, found 18446744073709551615"),
        (np.float32(1), "frame: expected uint8, found float32"),
    ],
)
def test_what_is_no_byte_is_refused(bytewise, wrong, said):
    frame, letters = inputs_of(camera(), 3)
    frame = np.minimum(frame, 127).astype(wrong.dtype)
    frame[2, 0, 1, 5, 4] = wrong
    for row in (slice(None), 2):
        with pytest.raises(ValueError, match=said):
            bytewise.predict(frame[row], letters[row])


def test_bytes_that_are_no_row_are_refused(bytewise):
    frame, letters = inputs_of(camera(), 3)
    letters[1, 3] = WORDS
    for row in (slice(None), 1):
        with pytest.raises(ValueError, match="letters: expected whole numbers from 0 to 8, found 9"):
            bytewise.predict(frame[row], letters[row])


def test_a_cast_that_keeps_the_values_costs_nothing(bytewise):
    kernels = (Path(bytewise.__file__).parent / "kernels.py").read_text("utf-8")
    assert kernels.count(": cast, ") == 0
    assert kernels.count("    stage_bytes(frame, ") == 1


def test_only_inputs_are_bytes(tmp_path):
    model = camera()
    with pytest.raises(UnsupportedError, match="'scores' is uint8; only inputs can be"):
        loaded(replace(model, outputs=(Output("scores", "frame"), *model.outputs[1:])), tmp_path)


def test_all_inputs_have_as_many_observations(mixed):
    image, words, flags = inputs(3)
    with pytest.raises(ValueError, match="all inputs must have as many observations"):
        mixed.predict(image, words[:2], flags)
    with pytest.raises(ValueError, match="all inputs must have as many observations"):
        mixed.predict(image[:1], words[0], flags[:1])


def test_nonfinite_values_are_computed_with_where_the_build_says_so(tmp_path):
    predictor = loaded(layer(), tmp_path, nonfinite="propagate")
    assert np.isnan(predictor.predict(np.full(4, np.nan, np.float32))).all()


def test_without_a_batch_exactly_the_shape_is_taken(tmp_path, plain):
    predictor = loaded(layer(batched=False), tmp_path)
    assert predictor.predict(np.ones(4)).shape == (3,)
    with pytest.raises(ValueError, match=r"x: expected shape \(4,\), found \(1, 4\)"):
        predictor.predict(np.ones((1, 4)))
    assert predictor.SPEC["inputs"][0]["shape"] == (4,)


def test_states_are_passed_on_and_kept(tmp_path):
    predictor = loaded(counter(), tmp_path)
    one, state = predictor.predict(np.array([1, 2], np.float32))
    np.testing.assert_array_equal(one, [4, 6])
    two, after = predictor.predict(np.array([1, 2], np.float32), state)
    np.testing.assert_array_equal(two, [6, 10])
    np.testing.assert_array_equal(state.total, [2, 3])  # what was passed is as it was
    np.testing.assert_array_equal(after.total, [3, 5])
    episode = predictor.Episode()
    np.testing.assert_array_equal(episode.predict([1, 2]), one)
    with pytest.raises(ValueError, match="NaN"):
        episode.predict([np.nan, 0])
    np.testing.assert_array_equal(episode.predict([1, 2]), two)
    episode.reset()
    np.testing.assert_array_equal(episode.predict([1, 2]), one)


def test_states_need_one_observation_at_a_time(tmp_path):
    with pytest.raises(UnsupportedError, match="has states and a batch"):
        compiler.build(replace(counter(), batched=True), out=tmp_path)


def test_a_build_is_the_same_every_time(tmp_path):
    model = several()
    for folder in ("one", "other"):
        compiler.build(model, out=tmp_path / folder, name="same")
    one, other = (
        {path.name: path.read_bytes() for path in (tmp_path / folder / "same").iterdir() if path.is_file()}
        for folder in ("one", "other")
    )
    assert len(one) == 9
    assert one == other


def test_one_number_for_each_observation(tmp_path):
    graph = GraphBuilder()
    given = graph.input("x", DType.FLOAT32, (BATCH,))
    doubled = graph.add("plus", [given, given], "doubled")
    model = Model("one", tuple(graph.nodes), graph.tensors, ("x",), (Output("y", doubled),), ORIGIN)
    predictor = loaded(model, tmp_path)
    np.testing.assert_array_equal(predictor.predict(np.array([1, 2, 3], np.float32)), [2, 4, 6])
    assert predictor.predict(1.5) == 3
    assert predictor.predict(np.float32(1.5)).shape == ()
    with pytest.raises(ValueError, match="NaN"):
        predictor.predict(np.nan)


def test_packages_are_formatted_and_typed(tmp_path, mypy_cache):
    folders = [write(tmp_path / model.__name__, model()) for model in (several, layer, counter, camera)]
    settings = Path(__file__).parents[2] / "pyproject.toml"
    for command in (
        ["ruff", "format", "--check", "--config", settings],
        ["ruff", "check", "--config", settings],
        ["mypy", "--config-file", settings, "--cache-dir", mypy_cache],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *map(str, [*command, *folders])], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
