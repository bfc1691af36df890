"""
Models that are no policies as libraries in C: what the functions give, what they refuse, and what users compile.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compiler import products
from compiler.ir import Model
from compiler.options import BuildOptions
from compiler.pipeline import run_passes
from compiler.targets import bridge, machines
from compiler.targets.c import library_of
from compiler.targets.general_library import Library
from compiler.verify_package import verify_package
from tests.general_models import (
    MODELS,
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
from tests.targets.test_c_compilers import compiler as compiler_of
from tests.thorough import chosen

EMULATED = ("aarch64-linux-musl", "riscv64-linux-musl", "armv7-linux-musleabihf")

pytestmark = pytest.mark.slow

HERE = {"target": "c", "cpu": "native"}
OK, NOT_FINITE, OUT_OF_RANGE = 0, -2, -4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("c")
    return {name: built(make(), folder, **HERE).path for name, make in MODELS.items()}


@pytest.fixture(scope="module")
def libraries(folders):
    return {name: library_in(folders[name], make()) for name, make in MODELS.items()}


def results(rows: int) -> list[np.ndarray]:
    return [np.full((rows, 2, 3), 7, np.float32), np.full((rows, 2), 7, np.int64), np.full((rows, 2, 3), 7, np.uint8)]


def library_in(folder: Path, model: Model) -> Library:
    """
    The functions of the library that was built for this machine.
    """
    options, triple = products.resolve(BuildOptions(target="c", cpu="native"))
    sources = products.made_before(run_passes(model, options), options, triple, model.name).sources
    assert sources is not None
    assert sources.general is not None
    return Library(folder / f"lib{model.name}.so", sources.general)


def test_every_dtype_alone_and_in_a_batch(libraries):
    library, inputs = libraries["mixed"], inputs_of(mixed(), 5)
    expected = expected_of(mixed(), inputs)
    found = results(5)
    assert library.predict_batch(5, inputs, found) == OK
    assert_alike((*found[:2], found[2].astype(bool)), expected)
    for row in range(5):
        one = results(1)
        assert library.predict([array[row] for array in inputs], one) == OK
        assert all(np.array_equal(a[0], b[row]) for a, b in zip(one, found, strict=True))


def test_a_refusal_leaves_outputs_as_they_were(libraries):
    library, (image, words, flags) = libraries["mixed"], inputs_of(mixed(), 3)
    for change, status in ((8, OK), (9, OUT_OF_RANGE), (2**40, OUT_OF_RANGE), (-1, OUT_OF_RANGE)):
        asked, found = words.copy(), results(3)
        asked[1, 2] = change
        assert library.predict_batch(3, [image, asked, flags], found) == status
        assert all((array == 7).all() for array in found) == (status != OK)
    image[2, 1, 2] = np.inf
    found = results(3)
    assert library.predict_batch(3, [image, words, flags], found) == NOT_FINITE
    assert all((array == 7).all() for array in found)


def test_bytes_are_bytes(libraries, folders):
    library, (frame, letters) = libraries["camera"], inputs_of(camera(), 5)
    found = [np.full((5, 3), 7, np.float32), np.full(5, 7, np.int64)]
    assert library.predict_batch(5, [frame, letters], found) == OK
    assert_alike(tuple(found), expected_of(camera(), [frame, letters]))
    letters[4, 3] = WORDS
    assert library.predict_batch(5, [frame, letters], found) == OUT_OF_RANGE
    assert library.predict_batch(4, [frame[:4], letters[:4]], found) == OK
    header = (folders["camera"] / "camera.h").read_text("utf-8")
    assert "const uint8_t *frame, const uint8_t *letters," in " ".join(header.split())
    assert "uint8, 4 dimensions (1, 2, 6, 5) from 0 to 255" in header


def test_the_state_is_kept_and_begins_as_the_model_says(libraries):
    library = libraries["counter"]
    (total,) = library.view.states
    given, found = np.array([1, 2], np.float32), np.zeros(2, np.float32)
    library.reset()
    np.testing.assert_array_equal(library.state(total), [1, 1])
    for expected in ([4, 6], [6, 10]):
        assert library.predict([given], [found]) == OK
        np.testing.assert_array_equal(found, expected)
    assert library.predict([given * np.nan], [found]) == NOT_FINITE
    np.testing.assert_array_equal(library.state(total), [3, 5])
    np.testing.assert_array_equal(found, [6, 10])
    library.reset()
    np.testing.assert_array_equal(library.state(total), [1, 1])


def test_what_the_library_says_and_shows(folders, libraries):
    assert libraries["wide"].text("model_sha256") in (folders["wide"] / "manifest.json").read_text("utf-8")
    text = subprocess.run(
        ["nm", "-D", "--defined-only", folders["mixed"] / "libmixed.so"], capture_output=True, text=True, check=True
    )
    names = {line.split()[-1] for line in text.stdout.splitlines()}
    ends = ("reset", "predict", "predict_batch", "status_text", "model_sha256", "policyc_version")
    assert names == {f"mixed_{end}" for end in ends}
    assert "wide_predict_batch" not in (folders["wide"] / "wide.h").read_text("utf-8")


def example_in(folder: Path, place: Path) -> Path:
    """
    The example, compiled.
    """
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    sources = [folder / "example.c", folder / f"lib{folder.name}.a"]
    subprocess.run([*compiler_of("zig cc"), *flags, *sources, "-o", place / "example"], check=True)
    return place / "example"


@pytest.mark.parametrize("name", MODELS)
def test_the_example_compiles_without_a_warning_and_answers(folders, name, tmp_path):
    model = MODELS[name]()
    program = example_in(folders[name], tmp_path)
    inputs = inputs_of(model, 2)
    words = [f"{x:.9g}" for row in range(2) for array in inputs for x in array[row].ravel().astype(float)]
    if name == "wide":  # more values than a command line has room for
        words = []
        inputs = [np.zeros_like(inputs[0])]
    said = subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout.splitlines()
    if name == "counter":
        assert len(said) == 2
        return
    expected = expected_of(model, inputs)
    for number, line in enumerate(said):
        row, place = divmod(number, len(expected))
        np.testing.assert_allclose(np.array(line.split()[1:], float), expected[place][row].ravel(), 1e-5, 1e-5)
    assert len(said) == len(expected) * (2 if words else 1)


def test_the_example_says_why_there_are_no_outputs(folders, tmp_path):
    program = tmp_path / "example"
    subprocess.run(
        [
            *compiler_of("zig cc"),
            "-std=c99",
            folders["counter"] / "example.c",
            folders["counter"] / "libcounter.a",
            "-o",
            program,
        ],
        check=True,
    )
    done = subprocess.run([program, "1", "nan"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "no outputs: inputs must be finite numbers, but one holds NaN or infinity\n",
    )
    done = subprocess.run([program, "1"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "an observation has 2 values, found 1\n")


def test_the_header_is_read_as_cpp(folders, tmp_path):
    both = tmp_path / "both.cpp"
    both.write_text('#include "mixed.h"\n#include "mixed.h"\n#include "counter.h"\nint main() { return MIXED_OK; }\n')
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-nostdinc++", "-c"]
    includes = [f"-I{folders[name]}" for name in ("mixed", "counter")]
    command = [sys.executable, "-m", "ziglang", "c++", *flags, *includes, both, "-o", tmp_path / "both.o"]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("name", ["camera", "counter", "mixed"])
def test_verify_compares_a_library_with_its_model_file(folders, name):
    assert verify_package(folders[name]).verification.observations == 8


def test_one_object_file_is_all_that_firmware_needs(tmp_path):
    build = built(counter(), tmp_path, target="c", triple="thumbv7em-none-eabihf", single_file=True)
    files = {path.name for path in build.path.iterdir()}
    assert files == {"counter.h", "counter.o", "manifest.json", "model.bin"}
    memory = build.made["memory"]
    assert memory["weights"] == 64
    assert 0 < memory["stack"] < 1000
    assert 4 * 2 < memory["state"] < 1000


@pytest.mark.parametrize("triple", chosen(EMULATED, "aarch64-linux-musl"))
def test_other_processors_give_the_same(tmp_path, triple):
    if not bridge.emulator_for(machines.find(triple)):
        pytest.skip(f"there is no emulator for {triple} here")
    model = wide() if triple.startswith("riscv") else mixed()
    build = built(model, tmp_path, target="c", triple=triple)
    assert build.made["means"].startswith("qemu-")
    assert library_of(build.path.name, machines.find(triple)).static in {path.name for path in build.path.iterdir()}
