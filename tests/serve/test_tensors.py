"""
Tensors in bodies of the Open Inference Protocol, against what Triton's client writes and reads.
"""

import json
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from compiler.serve.answers import RequestError
from compiler.serve.tensors import (
    DATATYPES,
    HEADER_LENGTH,
    Tensor,
    answer_with,
    arrays_of,
    read_request,
    wanted_of,
)

VALUES = {
    "bool": [[True, False, True], [False, False, True]],
    "uint8": [[0, 255, 7], [1, 2, 3]],
    "int8": [[-128, 127, 7], [1, 2, 3]],
    "int64": [[-(2**63), 2**63 - 1, 7], [1, 2, 3]],
    "float32": [[0.1, -3.4e38, 1e-40], [1, 2, 3]],
    "float64": [[0.1, -1.7e308, 5e-324], [1, 2, 3]],
}
TENSORS = {"x": Tensor("x", "float32", (-1, 3)), "more": Tensor("more", "int64", (-1,), optional=True)}


def asked(content: Any, behind: bytes = b"", tensors: dict[str, Tensor] = TENSORS) -> dict[str, np.ndarray]:
    """
    The arrays of a request.
    """
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return arrays_of(*read_request(text + behind, str(len(text)) if behind else None), tensors)


def given(name: str = "x", datatype: str = "FP32", shape: Any = (1, 3), **others: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), **others}


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("dtype", VALUES)
def test_what_the_client_writes_is_read(dtype: str, binary: bool) -> None:
    values = np.array(VALUES[dtype], dtype)
    inputs = []
    for name, array in (("x", values), ("y", values[:1])):
        inputs.append(triton.InferInput(name, list(array.shape), DATATYPES[dtype]))
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    body, length = triton.InferenceServerClient.generate_request_body(inputs)
    tensors = {name: Tensor(name, dtype, (-1, 3)) for name in ("x", "y")}
    found = arrays_of(*read_request(body, None if length is None else str(length)), tensors)
    for name, expected in (("x", values), ("y", values[:1])):
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("dtype", VALUES)
def test_what_is_answered_the_client_reads(dtype: str, binary: bool) -> None:
    values = np.array(VALUES[dtype], dtype)
    arrays = {"a": values[::-1], "b": values[:, 0], "c": values}
    status, headers, body = answer_with({"model_name": "m", "id": "7"}, arrays, {"a": binary, "c": False, "b": binary})
    assert status == 200
    result = triton.InferenceServerClient.parse_response_body(body, header_length=dict(headers).get(HEADER_LENGTH))
    assert result.get_response()["id"] == "7"
    for name, expected in arrays.items():
        np.testing.assert_array_equal(result.as_numpy(name), expected)
        assert result.as_numpy(name).dtype == expected.dtype


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]])
def test_data_is_row_by_row_or_nested(data: list[Any]) -> None:
    found = asked({"inputs": [given(shape=(2, 3), data=data)]})
    np.testing.assert_array_equal(found["x"], [[1, 2, 3], [4, 5, 6]])


def test_truth_values_may_be_numbers() -> None:
    found = asked(
        {"inputs": [given("b", "BOOL", (4,), data=[1, 0, True, False])]}, b"", {"b": Tensor("b", "bool", (-1,))}
    )
    np.testing.assert_array_equal(found["b"], [True, False, True, False])


@pytest.mark.parametrize(
    ("inputs", "path", "words"),
    [
        ([given("z", data=[1, 2, 3])], "$.inputs[0].name", ["x, more", "'z'"]),
        ([given(data=[1, 2, 3])] * 2, "$.inputs[1].name", ["once", "x again"]),
        ([], "$.inputs", ["no x"]),
        ([given(datatype="FP64", data=[1, 2, 3])], "$.inputs[0].datatype", ["FP32", "FP64"]),
        ([given(shape=(3,), data=[1, 2, 3])], "$.inputs[0].shape", ["[-1, 3]", "[3]"]),
        ([given(shape=(1, 4), data=[1, 2, 3, 4])], "$.inputs[0].shape", ["[-1, 3]", "[1, 4]"]),
        ([given(shape=(0, 3), data=[])], "$.inputs[0].shape", ["[-1, 3]", "[0, 3]"]),
        ([given(shape=(-1, 3), data=[1, 2, 3])], "$.inputs[0].shape[0]", [">= 0", "-1"]),
        ([given(data=[1, 2])], "$.inputs[0].data", ["[1, 3]", "2 values"]),
        ([given(data=[[1, 2], [3]])], "$.inputs[0].data", ["one length"]),
        ([given(data=[[1], [2], [3]])], "$.inputs[0].data", ["[1, 3]", "[3, 1]"]),
        ([given(data=[[[1, 2, 3]]])], "$.inputs[0].data[0][0]", ["a number", "an array of length 3"]),
        ([given(data=[1, "2", 3])], "$.inputs[0].data[1]", ["a number", "a text"]),
        ([given(data=[1, True, 3])], "$.inputs[0].data[1]", ["a number", "true"]),
        ([given(data=[1, 2, 1e39])], "$.inputs[0].data[2]", ["3.4", "1e+39"]),
        ([given(data={"1": 2})], "$.inputs[0].data", ["an array", "an object"]),
        ([given(data=None)], "$.inputs[0].data", ["an array", "null"]),
        ([given()], "$.inputs[0]", ["data", "binary_data_size"]),
        ([given(parameters={"shared_memory_region": "r"})], "$.inputs[0].parameters", ["shared memory"]),
        ([given(parameters={"binary_data_size": "12"})], "$.inputs[0].parameters.binary_data_size", ["bytes"]),
        ([given(parameters={"binary_data_size": -1})], "$.inputs[0].parameters.binary_data_size", ["bytes"]),
        ([given(parameters={"binary_data_size": 0})], "$.inputs[0]", ["12 bytes", "found 0"]),
        (
            [given(data=[1, 2, 3]), given("more", "INT64", (1,), data=[1.5])],
            "$.inputs[1].data[0]",
            ["a whole number", "1.5"],
        ),
        ([{"name": "x"}], "$.inputs[0]", ["shape"]),
        (None, "$.inputs", ["an array", "null"]),
    ],
)
def test_what_is_not_for_the_model_is_refused(inputs: Any, path: str, words: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        asked({"inputs": inputs})
    assert (refused.value.status, refused.value.path) == (422, path)
    for word in words:
        assert word in refused.value.message


@pytest.mark.parametrize(
    ("body", "length", "words"),
    [
        (b"{", None, "not JSON"),
        (b"", None, "not JSON"),
        (b'{"inputs": ' + b"[" * 10_000, None, "too many arrays"),
        (b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": ' + b"[" * 10_000, None, "too many"),
        (b'{"inputs": []}', "15", "at most the 14 bytes"),
        (b'{"inputs": []}', "-1", "'-1'"),
        (b'{"inputs": []}', "1" * 5000, "at most the 14 bytes"),
        (b'{"inputs": []}', "x", "'x'"),
        (b'{"inputs": []}1234', "14", "4 bytes behind"),
        (json.dumps({"inputs": [given(parameters={"binary_data_size": 12})]}).encode() + b"1234", "99", "found 4"),
    ],
)
def test_a_body_that_does_not_add_up_is_no_request(body: bytes, length: str | None, words: str) -> None:
    if length == "99":
        length = str(len(body) - 4)
    with pytest.raises(RequestError) as refused:
        read_request(body, length)
    assert refused.value.status == 400
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, {"a": False, "b": False}),
        ({"parameters": {"binary_data_output": True}}, {"a": True, "b": True}),
        ({"outputs": [{"name": "b"}]}, {"b": False}),
        ({"outputs": [{"name": "b", "parameters": {"binary_data": True}}, {"name": "a"}]}, {"b": True, "a": False}),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "b", "parameters": {"binary_data": False}}, {"name": "a"}],
            },
            {"b": False, "a": True},
        ),
    ],
)
def test_wanted_outputs_and_their_form(content: dict[str, Any], expected: dict[str, bool]) -> None:
    request, _ = read_request(json.dumps({"inputs": [], **content}).encode(), None)
    assert wanted_of(request, ("a", "b")) == expected


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ({"name": "c"}, "$.outputs[0].name"),
        ({"name": "a", "parameters": {"classification": 2}}, "$.outputs[0].parameters.classification"),
        ({"name": "a", "parameters": {"binary_data": 1}}, "$.outputs[0].parameters.binary_data"),
        ({"name": "a", "parameters": {"shared_memory_region": "r"}}, "$.outputs[0].parameters.shared_memory_region"),
    ],
)
def test_outputs_that_can_not_be_had_are_refused(output: dict[str, Any], path: str) -> None:
    request, _ = read_request(json.dumps({"inputs": [], "outputs": [output]}).encode(), None)
    with pytest.raises(RequestError) as refused:
        wanted_of(request, ("a", "b"))
    assert (refused.value.status, refused.value.path) == (422, path)
