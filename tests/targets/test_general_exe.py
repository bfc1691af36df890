"""
Models that are no policies as programs: what they answer, what they remember, what they refuse.
"""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from compiler.verify_package import verify_package
from tests.general_models import MODELS, assert_alike, built, camera, expected_of, inputs_of, mixed, wide

pytestmark = pytest.mark.slow

HERE = {"target": "exe", "cpu": "native"}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exe")
    return {name: built(make(), folder, **HERE).path / name for name, make in MODELS.items()}


def answers(program, *requests):
    lines = [one if isinstance(one, str) else json.dumps(one) for one in requests]
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_dtype_nested_and_flat(programs):
    inputs = inputs_of(mixed(), 3)
    names = ("double", "count", "weights")
    nested = [{"inputs": {n: a[row].tolist() for n, a in zip(names, inputs, strict=True)}} for row in range(3)]
    flat = [{"inputs": {n: a[row].ravel().tolist() for n, a in zip(names, inputs, strict=True)}} for row in range(3)]
    found = answers(programs["mixed"], *nested)
    assert found == answers(programs["mixed"], *flat)
    assert [list(one["outputs"]) for one in found] == [["scores", "int", "room"]] * 3
    assert {type(x) for row in found[0]["outputs"]["room"] for x in row} == {bool}
    dtypes = (np.float32, np.int64, np.bool_)
    columns: list[np.ndarray] = [
        np.array([one["outputs"][n] for one in found], d) for n, d in zip(found[0]["outputs"], dtypes, strict=True)
    ]
    assert_alike(tuple(columns), expected_of(mixed(), inputs))


def test_long_lines(programs):
    inputs = inputs_of(wide(), 1)
    (found,) = answers(programs["wide"], {"inputs": {"x": inputs[0][0].tolist()}})
    np.testing.assert_allclose(found["outputs"]["y"], expected_of(wide(), inputs)[0][0], 1e-5, 1e-5)


def test_the_state_is_kept_given_and_forgotten(programs):
    step = {"inputs": {"x": [1, 2]}}
    found = answers(
        programs["counter"],
        step,
        {"inputs": {"x": [float("nan"), 2]}},
        step,
        step | {"state": {"total": [5, 6]}},
        step,
        {"inputs": {"x": [float("nan"), 2]}, "state": {"total": [50, 60]}},
        step,
        step | {"state": None},
        step | {"episode_start": True},
        step | {"episode_start": True, "state": {"total": [5, 6]}},
    )
    outputs = [one["outputs"]["y"] if "outputs" in one else one["status"] for one in found]
    assert outputs == [[4, 6], -2, [6, 10], [12, 16], [14, 20], -2, [16, 24], [4, 6], [4, 6], [4, 6]]
    states = [one.get("state", {}).get("total") for one in found]
    assert states == [None, None, None, [6, 8], None, None, None, [2, 3], None, [2, 3]]


@pytest.mark.parametrize(
    ("inputs", "status", "said"),
    [
        ('{"double": [1,2,3,4,5,6], "count": [0,0,0,0]}', -1, 'inputs["weights"], found none'),
        ('{"double": [1,2,3,4,5], "count": [0,0,0,0], "weights": [1,1,1]}', -1, 'inputs["double"]: expected 6 values'),
        ('{"double": [], "double": []}', -1, 'inputs["double"]: expected'),
        ('{"other": []}', -1, 'inputs: expected the keys "double", "count", "weights", found "other"'),
        (
            '{"count": [0, 1.5, 0, 0]}',
            -1,
            'inputs["count"][1]: expected an integer from -16777216 to 16777216, found 1.5',
        ),
        ('{"count": [0, 0, 0, -16777217]}', -4, 'inputs["count"][3]: expected an integer'),
        ('{"count": [0, 0, 0, 99999999999999999999999]}', -4, 'inputs["count"][3]: expected an integer'),
        ('{"double": [[1,2,3],[4,5,1e400]]}', -2, 'inputs["double"][1][2]: expected a number that float32 can hold'),
        ('{"weights": [true, false, 2]}', -1, 'inputs["weights"][2]: expected true or false'),
        ("[]", -1, "inputs: expected {"),
    ],
)
def test_what_is_refused(programs, inputs, status, said):
    (found,) = answers(programs["mixed"], f'{{"inputs": {inputs}}}')
    assert found["status"] == status
    assert said in found["error"]


def test_bytes_are_bytes(programs):
    given = inputs_of(camera(), 3)
    names = ("frame", "letters")
    found = answers(
        programs["camera"],
        *({"inputs": {n: a[row].tolist() for n, a in zip(names, given, strict=True)}} for row in range(3)),
    )
    columns = [np.array([one["outputs"][n] for one in found], d) for n, d in (("scores", "f4"), ("light", "i8"))]
    assert_alike(tuple(columns), expected_of(camera(), given))
    frame = given[0][0].tolist()
    for letters, status in (([0, 8, 0, 9], -4), ([0, 8, 0, 256], -4), ([0, 8, 0, -1], -4), ([0, 8, 0, 1.5], -1)):
        (refused,) = answers(programs["camera"], {"inputs": {"frame": frame, "letters": letters}})
        assert refused["status"] == status
        said = 'inputs["letters"][3]: expected an integer from 0 to 255' if letters[3] != 9 else "between its bounds"
        assert said in refused["error"]


def test_requests_that_are_none(programs):
    found = answers(programs["mixed"], "{}", '{"state": null}', "", "[1]", '{"inputs": {}} x')
    assert [one["status"] for one in found] == [-1, -1, -1, -1]
    assert found[0]["error"] == "the request: expected the key inputs, found none"
    assert found[1]["error"].startswith("the request: expected the key inputs, found ")


def test_names_and_values_that_json_has_no_plain_words_for(tmp_path):
    model = wide()
    output = replace(model.outputs[0], name='a "quoted"\nn\u00e4me\u2713')
    named = replace(model, outputs=(output,))
    build = built(named, tmp_path, **HERE, nonfinite="propagate")
    (found,) = answers(build.path / "wide", {"inputs": {"x": np.full(30000, np.nan).tolist()}})
    assert list(found["outputs"]) == [output.name]
    assert np.isnan(found["outputs"][output.name]).all()


def test_what_the_program_says_of_itself(programs):
    for program in programs.values():
        said = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
        assert '{"inputs": {"name": ..., ...}}' in said
        assert max(map(len, said.splitlines())) <= 120
    measured = json.loads(subprocess.run([programs["mixed"], "--bench", "10"], capture_output=True, check=True).stdout)
    assert measured["name"] == "mixed"
    assert measured["nanoseconds_per_call"] > 0
    assert measured["observations_per_second"] > 0


@pytest.mark.parametrize("name", ["camera", "counter", "mixed"])
def test_verify_compares_a_program_with_its_model_file(programs, name):
    assert verify_package(programs[name].parent).verification.observations == 8
