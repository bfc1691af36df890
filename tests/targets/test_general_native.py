"""
Models that are no policies as packages with an extension: their face, their weights, what they refuse.
"""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import products
from compiler.errors import VerificationError
from compiler.ir import BATCH, DType, Model, Output
from compiler.ops.builder import GraphBuilder
from compiler.targets import machines
from compiler.verify_package import verify_package
from tests.general_models import (
    MODELS,
    ORIGIN,
    WORDS,
    assert_alike,
    built,
    camera,
    counter,
    expected_of,
    inputs_of,
    mixed,
    wide,
)

pytestmark = pytest.mark.slow

HERE = {"target": "native", "cpu": "native"}
WRONG_SIZE, NOT_FINITE, OUT_OF_RANGE = -1, -2, -4


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("native")
    return {name: built(make(), folder, **HERE) for name, make in MODELS.items()}


@pytest.fixture(scope="module")
def modules(packages):
    return {name: build.load() for name, build in packages.items()}


def native_of(module):
    return sys.modules[f"{module.__name__}._native"]


def test_every_dtype_alone_and_in_a_batch(modules):
    model, inputs = mixed(), inputs_of(mixed(), 7)
    expected = expected_of(model, inputs)
    assert_alike(modules["mixed"].predict(*inputs), expected)
    for row in range(7):
        one = modules["mixed"].predict(*(array[row] for array in inputs))
        assert_alike(one, [np.asarray(array[row]) for array in expected])


def test_a_large_workspace_and_no_batch(modules):
    model = wide()
    inputs = inputs_of(model, 1)
    assert_alike(modules["wide"].predict(inputs[0][0]), [expected_of(model, inputs)[0][0]])
    with pytest.raises(ValueError, match=r"x: expected shape \(300, 100\), found \(1, 300, 100\)"):
        modules["wide"].predict(inputs[0])


def test_states_are_passed_on_and_kept(modules):
    module, step = modules["counter"], np.array([1, 2], np.float32)
    one, state = module.predict(step)
    two, after = module.predict(step, state)
    np.testing.assert_array_equal([one, two], [[4, 6], [6, 10]])
    np.testing.assert_array_equal([state.total, after.total], [[2, 3], [3, 5]])
    episode = module.Episode()
    np.testing.assert_array_equal(episode.predict([1, 2]), one)
    with pytest.raises(ValueError, match="NaN"):
        episode.predict([np.nan, 0])
    kept = episode.state
    np.testing.assert_array_equal(episode.predict(step), two)
    episode.state = kept
    np.testing.assert_array_equal(episode.predict(step), two)
    np.testing.assert_array_equal(kept.total, state.total)
    episode.reset()
    np.testing.assert_array_equal(episode.predict(step), one)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda image, words, flags: (image[:, :1], words, flags),
            r"double: expected shape \(2, 3\), or a batch of it",
        ),
        (lambda image, words, flags: (image, words + 0.5, flags), "count: expected int64, found float64"),
        (
            lambda image, words, flags: (image, words - 2**40, flags),
            "count: expected whole numbers from 0 to 8, found -1099511627",
        ),
        (lambda image, words, flags: (image, words, flags.astype(np.int8)), "weights: expected bool, found int8"),
        (lambda image, words, flags: (image, words[:1], flags), "all inputs must have as many observations"),
        (lambda image, words, flags: (image * np.inf, words, flags), "NaN or infinity"),
    ],
)
def test_what_is_refused(modules, change, said):
    with pytest.raises(ValueError, match=said):
        modules["mixed"].predict(*change(*inputs_of(mixed(), 3)))
    with pytest.raises(ValueError, match="NaN or infinity"):
        modules["mixed"].predict(np.full((2, 3), np.nan, np.float32), *(a[0] for a in inputs_of(mixed(), 1)[1:]))


def test_the_extension_takes_exactly_what_it_needs(modules):
    native = native_of(modules["mixed"])
    image, words, flags = (array.reshape(-1) for array in inputs_of(mixed(), 2))
    results: list[np.ndarray] = [np.empty(12, np.float32), np.empty(4, np.int64), np.empty(12, np.bool_)]
    assert native.predict_rows(2, image, words, flags, *results) == 0
    assert native.predict_rows(0, image[:0], words[:0], flags[:0], *(array[:0] for array in results)) == 0
    assert native.predict_rows(1, image, words, flags, *results) == WRONG_SIZE
    assert native.predict_rows(-2, image, words, flags, *results) == WRONG_SIZE
    assert native.predict_rows(2, image.astype(np.float64), words, flags, *results) == WRONG_SIZE
    assert native.predict_rows(2, image, words, flags.astype(np.uint8), *results) == WRONG_SIZE
    assert native.predict_rows(2, image, words, None, *results) == WRONG_SIZE
    assert native.predict_rows(2, image.reshape(2, 6), words, flags, *results) == WRONG_SIZE
    results[0].flags.writeable = False
    assert native.predict_rows(2, image, words, flags, *results) == WRONG_SIZE
    results[0].flags.writeable = True
    words[5] = 9
    assert native.predict_rows(2, image, words, flags, *results) == OUT_OF_RANGE
    words[5] = 8
    assert native.predict_rows(2, image, words, flags, *results) == 0
    image[7] = np.nan
    assert native.predict_rows(2, image, words, flags, *results) == NOT_FINITE
    with pytest.raises(TypeError, match="predict_rows: expected 7 arguments, found 2"):
        native.predict_rows(1, image)
    with pytest.raises(ValueError, match=r"expected \d+ bytes of weights, found 3"):
        native.use_weights(b"abc")
    with pytest.raises(TypeError):
        native.use_weights(3)


def test_bytes_alone_and_in_a_batch(modules):
    given = inputs_of(camera(), 7)
    expected = expected_of(camera(), given)
    assert_alike(modules["camera"].predict(*given), expected)
    assert_alike(modules["camera"].predict(*(array.astype(np.int64) for array in given)), expected)
    for row in range(7):
        one = modules["camera"].predict(*(array[row] for array in given))
        assert_alike(one, [np.asarray(array[row]) for array in expected])
    with pytest.raises(ValueError, match="frame: expected whole numbers from 0 to 255, found"):
        modules["camera"].predict(given[0].astype(np.int64) + 256, given[1])


def test_the_extension_takes_bytes_as_they_are(modules):
    native = native_of(modules["camera"])
    frame, letters = (array.reshape(-1) for array in inputs_of(camera(), 2))
    results: list[np.ndarray] = [np.empty(6, np.float32), np.empty(2, np.int64)]
    assert native.predict_rows(2, frame, letters, *results) == 0
    assert native.predict_rows(2, bytearray(frame.data), letters.data, *results) == 0
    for other in (np.int8, np.bool_, np.int64):
        assert native.predict_rows(2, frame.astype(other), letters, *results) == WRONG_SIZE
    letters[7] = WORDS
    assert native.predict_rows(2, frame, letters, *results) == OUT_OF_RANGE
    assert native.predict_rows(1, frame[:60], letters[:4], *(array[: array.size // 2] for array in results)) == 0


def test_threads_have_rooms_of_their_own(modules):
    questions = inputs_of(wide(), 8)[0]
    answers = [modules["wide"].predict(question) for question in questions]
    differing = []

    def ask(number: int) -> None:
        for _ in range(200):
            if not np.array_equal(modules["wide"].predict(questions[number]), answers[number]):
                differing.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert differing == []


def test_a_package_needs_numpy_alone(packages):
    text = f"import sys\nsys.path.insert(0, {str(packages['mixed'].path.parent)!r})\nimport mixed, counter, wide\n"
    text += "print(*(name for name in ('numba', 'llvmlite', 'compiler', 'torch', 'jinja2') if name in sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.fixture
def copy(packages, tmp_path) -> Path:
    folder = tmp_path / "mixed"
    shutil.copytree(packages["mixed"].path, folder)
    return folder


def importing(folder: Path) -> str:
    text = f"import sys\nsys.path.insert(0, {str(folder.parent)!r})\nimport {folder.name}"
    return subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"",
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    ],
    ids=["cut", "longer", "empty", "head", "digest of the weights"],
)
def test_another_model_file_is_refused(copy, change):
    path = copy / "model.bin"
    path.write_bytes(change(path.read_bytes()))
    said = importing(copy)
    assert "ImportError" in said
    assert "build the predictor again" in said


def test_a_missing_model_file_is_refused(copy):
    assert importing(copy) == ""
    (copy / "model.bin").unlink()
    assert "can't be read, build the predictor again" in importing(copy)


def test_verify_looks_at_every_weight(copy):
    assert verify_package(copy).verification.observations == 8
    path, place = copy / "model.bin", len((copy / "model.bin").read_bytes()) - 100
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError, match="was changed after the build"):
        verify_package(copy)


def test_all_processors_of_a_portable_package_are_asked(tmp_path, monkeypatch):
    asked: list[str] = []
    lower = products.lower_levels

    def recorded(*arguments: Any) -> Iterator[Any]:
        for product, folder in lower(*arguments):
            assert product.sources is not None
            asked.append(product.sources.triple.levels[0].suffix)
            yield product, folder

    monkeypatch.setattr(products, "lower_levels", recorded)
    build = built(mixed(), tmp_path, target="native")
    here = [level.suffix for level in machines.find(None).levels if machines.is_here(level)]
    assert asked == here[:-1]
    assert verify_package(build.path).verification.observations == 8


def test_weights_are_mapped_and_nowhere_else(tmp_path):
    graph = GraphBuilder()
    weight = np.random.default_rng(0).normal(size=(1000, 1000)).astype(np.float32)
    inputs = [graph.input("x", DType.FLOAT32, (BATCH, 1000)), graph.constant("w", weight)]
    result = graph.add("linear", [*inputs, graph.constant("b", np.zeros(1000, np.float32))], "layer")
    model = Model("large", tuple(graph.nodes), graph.tensors, ("x",), (Output("y", result),), ORIGIN)
    folder = built(model, tmp_path, **HERE).path
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    assert sizes.pop("model.bin") > 4 * weight.size
    assert sum(sizes.values()) < 100_000
    text = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport large\nprint(open('/proc/self/maps').read())"
    if sys.platform == "linux":
        done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True, check=True)
        (mapped,) = [line for line in done.stdout.splitlines() if line.endswith("large/model.bin")]
        assert mapped.split()[1] in ("r--p", "r--s")


def test_a_build_is_the_same_every_time(packages, tmp_path):
    again = built(counter(), tmp_path, **HERE).path
    before = packages["counter"].path
    files = sorted(path.name for path in again.iterdir() if path.is_file())
    assert files == ["__init__.py", "_native.abi3.so", "_native.pyi", "manifest.json", "model.bin", "predictor.py"]
    assert all((again / name).read_bytes() == (before / name).read_bytes() for name in files)


def test_packages_are_formatted_and_typed(packages, mypy_cache):
    assert_formatted_and_typed([build.path for build in packages.values()], mypy_cache)


def assert_formatted_and_typed(folders: list[Path], mypy_cache: Path) -> None:
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
