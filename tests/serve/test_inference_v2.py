"""
The Open Inference Protocol of a running server, asked by Triton's client: what it says is what the packages say.
"""

import http.client
import json
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from compiler.ir import Model
from compiler.loading import imported
from compiler.serve.answers import Answer, RequestError
from compiler.serve.handlers import Call, inferring
from compiler.serve.inference_v2 import named_tensors
from compiler.serve.models import open_model
from compiler.serve.sessions import Sessions
from tests import general_models
from tests.generated_code.sampled import POLICIES as DRAWING
from tests.generated_code.test_every_input import MODELS as SEEING
from tests.generated_code.test_every_input import question
from tests.serve.packages import place_all
from tests.serve.serving import serving

POLICIES: Mapping[str, Model] = {
    **{name: SEEING[name] for name in ("several choices", "bits", "image", "dict", "masked", "recurrent")},
    "discrete": DRAWING["discrete"],
    "squashed": DRAWING["squashed"],
}
PROGRAMS: Mapping[str, Model] = {
    **{name: general_models.MODELS[name]() for name in ("mixed", "counter", "camera")},
    "sentences": general_models.sentences(),
}
ROWS = 3

Arrays = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("served")
    every = {**POLICIES, **PROGRAMS}
    return dict(zip(every, place_all(folder, every), strict=True))


@pytest.fixture(scope="module")
def address(folders: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("log"), *folders.values()) as found:
        yield f"127.0.0.1:{found.port}"


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address) as found:
        yield found


@pytest.fixture
def package(folders: dict[str, Any], name: str) -> Iterator[ModuleType]:
    with imported(folders[name]) as found:
        yield found


def asked(
    client: triton.InferenceServerClient,
    name: str,
    arrays: Arrays,
    binary: bool = True,
    wanted: Any = None,
    **others: Any,
) -> triton.InferResult:
    inputs = []
    for key, array in arrays.items():
        inputs.append(triton.InferInput(key, list(array.shape), np_to_triton_dtype(array.dtype)))
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    outputs = wanted and [triton.InferRequestedOutput(key, binary_data=binary) for key in wanted]
    return client.infer(name.replace(" ", "_"), inputs, outputs=outputs, **others)


def expect(result: triton.InferResult, expected: Arrays) -> None:
    assert {output["name"] for output in result.get_response()["outputs"]} == set(expected)
    for key, array in expected.items():
        found = result.as_numpy(key)
        assert (found.shape, found.dtype) == (array.shape, array.dtype), key
        np.testing.assert_allclose(found, array, rtol=1e-6, atol=1e-6)


def tensors_of(name: str, rows: int = ROWS) -> tuple[Any, dict[str, Any], dict[str, np.ndarray]]:
    """
    What a policy is asked: as `predict` takes it, and as the protocol does.
    """
    observation, others, _ = question(POLICIES[name], rows, np.random.default_rng(5))
    arrays = dict(observation) if isinstance(observation, dict) else {"observation": observation}
    for key, value in others.items():
        if key == "state":
            arrays |= {"state_h": value[0].swapaxes(0, 1), "state_c": value[1].swapaxes(0, 1)}
        else:
            arrays[key] = value.astype(np.bool_)
    return observation, others, {key: np.ascontiguousarray(array) for key, array in arrays.items()}


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_answers_as_its_package(name: str, binary: bool, client, package) -> None:
    observation, others, arrays = tensors_of(name)
    actions, after = package.predict(observation, **others)
    state = {key: value for key, value in others.items() if key != "action_masks"}
    expected = {"action": actions, "scores": package.scores(observation, **state)}
    if hasattr(package, "action_probabilities"):
        expected["probabilities"] = package.action_probabilities(observation, **others)
    if hasattr(package, "value"):
        expected["value"] = package.value(observation, **state)
    if name == "recurrent":
        expected |= {key: part.swapaxes(0, 1) for key, part in zip(("state_h", "state_c"), after, strict=True)}
    expect(asked(client, name, arrays, binary, list(expected)), expected)
    expect(asked(client, name, arrays, binary), expected)


@pytest.mark.parametrize("name", [*POLICIES, *PROGRAMS])
def test_metadata_has_the_tensors_that_are_taken_and_given(name: str, client, package) -> None:
    served = name.replace(" ", "_")
    metadata = client.get_model_metadata(served)
    assert metadata["name"] == served == package.SPEC["name"]
    assert client.is_model_ready(served)
    if name in POLICIES:
        arrays = tensors_of(name, 2)[2]
        batched = True
    else:
        arrays = dict(zip(PROGRAMS[name].inputs, general_inputs(name, 2), strict=True))
        batched = name != "counter"
    given = {tensor["name"]: tensor for tensor in metadata["inputs"]}
    assert next(iter(arrays)) == next(iter(given))
    for key, array in arrays.items():
        assert given[key]["datatype"] == np_to_triton_dtype(array.dtype)
        assert fits(array.shape, given[key]["shape"], batched), key
    result = asked(client, name, arrays)
    for tensor in metadata["outputs"]:
        found = result.as_numpy(tensor["name"])
        assert np_to_triton_dtype(found.dtype) == tensor["datatype"]
        assert fits(found.shape, tensor["shape"], batched), tensor


def fits(shape: tuple[int, ...], said: list[int], batched: bool) -> bool:
    return (
        len(shape) == len(said)
        and all(size == other or other == -1 for size, other in zip(shape, said, strict=True))
        and (said[0] == -1) == batched
    )


def general_inputs(name: str, rows: int) -> list[np.ndarray]:
    """
    Inputs of a program; of the one that knows no batch, one observation, and of sequences those of a length.
    """
    model = PROGRAMS[name]
    if name == "sentences":
        rng = np.random.default_rng(1)
        steps = rng.normal(size=(rows, 5, 3)).astype(np.float32)
        return [steps, rng.integers(0, 9, (rows, 5)), rng.integers(0, 2, (rows, 6)).astype(np.bool_)]
    found = general_models.inputs_of(model, rows)
    return found if model.batched else [array[0] for array in found]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_answers_as_its_package(name: str, binary: bool, client, package) -> None:
    inputs = general_inputs(name, ROWS)
    arrays = dict(zip(PROGRAMS[name].inputs, inputs, strict=True))
    found = package.predict(*inputs)
    names = [output.name for output in PROGRAMS[name].outputs]
    if name == "counter":
        outputs, after = found
        expect(asked(client, name, arrays, binary), {"y": outputs, "total": after[0]})
        outputs, again = package.predict(*inputs, after)
        expect(asked(client, name, {**arrays, "total": after[0]}, binary), {"y": outputs, "total": again[0]})
    else:
        expected = dict(zip(names, found if isinstance(found, tuple) else (found,), strict=True))
        expect(asked(client, name, arrays, binary), expected)
        expect(asked(client, name, arrays, binary, names[1:]), {key: expected[key] for key in names[1:]})


@pytest.mark.parametrize("name", ["recurrent"])
def test_an_episode_goes_on_with_the_states_of_an_answer(name: str, client, package) -> None:
    observation, _, _ = tensors_of(name, 2)
    states: dict[str, np.ndarray] = {}
    memory = None
    for step in range(4):
        starts = np.array([step == 2, False])
        result = asked(client, name, {"observation": observation + step, "episode_start": starts, **states})
        action, memory = package.predict(observation + step, memory, starts)
        np.testing.assert_allclose(result.as_numpy("action"), action, rtol=1e-5, atol=1e-6)
        states = {key: result.as_numpy(key) for key in ("state_h", "state_c")}
    assert states["state_h"].shape == (2, 2, 6)


def test_actions_are_drawn_where_that_is_asked_for(client) -> None:
    observations = np.repeat(tensors_of("discrete", 1)[2]["observation"], 200, axis=0)
    best = asked(client, "discrete", {"observation": observations}, wanted=["action"])
    drawn = asked(
        client, "discrete", {"observation": observations}, wanted=["action"], parameters={"deterministic": False}
    )
    assert len(set(best.as_numpy("action").tolist())) == 1
    assert len(set(drawn.as_numpy("action").tolist())) > 1


def test_a_request_has_its_id_in_the_answer(client) -> None:
    result = asked(client, "discrete", {"observation": np.zeros((1, 4), np.float32)}, request_id="one of mine")
    assert result.get_response()["id"] == "one of mine"
    assert result.get_response()["model_name"] == "discrete"


def test_the_server_says_what_it_is(client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert metadata["name"] == "policyc"
    assert metadata["extensions"] == ["binary_tensor_data"]
    assert not client.is_model_ready("nothing")


@pytest.mark.parametrize(
    ("name", "change", "status", "words"),
    [
        ("nothing", {}, "404", ["no model 'nothing'", "discrete"]),
        ("discrete", {"observation": np.zeros((2, 5), np.float32)}, "422", ["[-1, 4]", "[2, 5]"]),
        ("discrete", {"observation": np.zeros(4, np.float32)}, "422", ["[-1, 4]", "[4]"]),
        ("discrete", {"observation": np.zeros((2, 4))}, "422", ["FP32", "FP64"]),
        ("discrete", {"observation": np.full((2, 4), np.nan, np.float32)}, "422", ["finite", "nan"]),
        ("discrete", {"state_h": np.zeros((2, 1, 6), np.float32)}, "422", ["observation", "state_h"]),
        ("masked", {"action_masks": np.ones((3, 9), np.bool_)}, "422", ["as many rows", "action_masks 3"]),
        ("recurrent", {"state_h": np.zeros((2, 2, 6), np.float32)}, "422", ["state_h, state_c"]),
    ],
)
def test_what_is_wrong_is_said(name: str, change: dict[str, np.ndarray], status: str, words: list[str], client) -> None:
    arrays = {"observation": np.zeros((2, 4), np.float32)} | change
    with pytest.raises(InferenceServerException) as refused:
        asked(client, name, arrays)
    assert refused.value.status() == status
    for word in words:
        assert word in refused.value.message()


@pytest.mark.parametrize(
    ("parameters", "place"),
    [({"deterministic": 1}, "$.parameters.deterministic"), ({"sequence_id": 3}, "$.parameters.sequence_id")],
)
def test_parameters_that_would_be_ignored_are_refused(parameters: dict[str, Any], place: str, address: str) -> None:
    tensor = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}
    status, answer = posted(address, json.dumps({"inputs": [tensor], "parameters": parameters}).encode())
    assert (status, answer["path"]) == (422, place)


def posted(address: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("POST", "/v2/models/discrete/infer", body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_model_that_is_computed_at_once_answers_the_same(folders: dict[str, Any], client, tmp_path: Path) -> None:
    """
    Those of the server are slow, and wait for their turn.
    """
    observations = tensors_of("discrete")[2]["observation"]
    expected = asked(client, "discrete", {"observation": observations}, wanted=["action"]).as_numpy("action")
    model = open_model(folders["discrete"], Sessions(tmp_path / "sessions", 1, 1))
    try:
        handler = inferring("discrete", model.endpoint, named_tensors(model.endpoint), None)
        _, _, content = cast(Answer, handler(call_for(observations)))
        assert json.loads(content)["outputs"][0]["data"] == expected.tolist()
        with pytest.raises(RequestError) as refused:
            handler(call_for(np.full((1, 4), 3e38, np.float32)))
        assert (refused.value.status, refused.value.path) == (422, "$.inputs")
    finally:
        model.close()


def call_for(observations: np.ndarray) -> Call:
    data = observations.ravel().tolist()
    tensor = {"name": "observation", "shape": observations.shape, "datatype": "FP32", "data": data}
    return Call({}, json.dumps({"inputs": [tensor]}).encode())


def test_bodies_of_other_types_are_refused(address: str) -> None:
    status, answer = posted(address, b"<xml/>", **{"Content-Type": "application/xml"})
    assert status == 415
    assert "application/xml" in answer["error"]


def test_compressed_bodies_are_refused(client) -> None:
    with pytest.raises(InferenceServerException) as refused:
        asked(client, "discrete", tensors_of("discrete")[2], request_compression_algorithm="gzip")
    assert refused.value.status() == "415"
    assert "gzip" in refused.value.message()


def test_requests_are_counted_by_model_and_endpoint(client, address: str) -> None:
    def counted() -> tuple[float, float]:
        with urllib.request.urlopen(f"http://{address}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        requests = 'policyc_requests_total{code="200",endpoint="infer",model="bits"}'
        return float(values.get(requests, 0)), float(values['policyc_observations_total{model="bits"}'])

    before = counted()
    asked(client, "bits", tensors_of("bits", 7)[2], wanted=["action"])
    assert np.subtract(counted(), before).tolist() == [1, 7]
