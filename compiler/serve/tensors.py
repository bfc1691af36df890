"""
Tensors of the Open Inference Protocol, version 2: as JSON, or as bytes behind it (its binary tensor data extension).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiler.serve.answers import BYTES, JSON, Answer, RequestError
from compiler.serve.requests import ABSENT, Absent, element_type, parse

DATATYPES: Final = {
    "bool": "BOOL",
    **{f"{sign}int{bits}": f"{sign}int{bits}".upper() for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
"""The protocol's names of NumPy's dtypes."""

HEADER_LENGTH: Final = "inference-header-content-length"
"""The header that says where the JSON of a body ends and the bytes of its tensors begin."""

SHARED_MEMORY: Final = "shared_memory_region"
Size = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class Tensor(NamedTuple):
    """
    An input or output of a model.
    """

    name: str
    dtype: str
    """NumPy's name."""
    shape: tuple[int, ...]
    """-1 is any number but 0: the batch, or a length."""
    optional: bool = False
    """Whether it may be left out."""

    def described(self) -> dict[str, Any]:
        """
        As metadata of a model have it.
        """
        return {"name": self.name, "datatype": DATATYPES[self.dtype], "shape": self.shape}


class GivenTensor(msgspec.Struct):
    """
    An input: its values in `data`, row by row or nested, or as bytes behind the JSON.
    """

    name: str
    shape: list[Size]
    datatype: str
    parameters: dict[str, Any] = {}
    data: msgspec.Raw | Absent = ABSENT


class WantedTensor(msgspec.Struct):
    """
    An output that is asked for; `binary_data` in its parameters wants it as bytes behind the JSON.
    """

    name: str
    parameters: dict[str, Any] = {}


class InferenceRequest(msgspec.Struct):
    """
    What is asked of a model: its inputs, and which of its outputs are wanted; all, where none is named.
    """

    inputs: list[GivenTensor]
    id: str = ""
    outputs: list[WantedTensor] = []
    parameters: dict[str, Any] = {}


_decoder: Final = msgspec.json.Decoder(InferenceRequest)


def read_request(body: bytes, header_length: str | None) -> tuple[InferenceRequest, list[memoryview | None]]:
    """
    What a body asks, and for each input its bytes, if it has them behind the JSON.

    Args:
        body: of the request.
        header_length: the value of its header `Inference-Header-Content-Length`.

    Raises:
        RequestError: 400, if the JSON is none or the bytes do not add up; 422 for JSON that is no such request.
    """
    end = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdecimal()) or int(header_length[:20]) > len(body):
            message = f"Inference-Header-Content-Length: expected at most the {len(body)} bytes of the body"
            raise RequestError(400, f"{message}, found {header_length[:20]!a}")
        end = int(header_length)
    request = parse(_decoder, body[:end])
    behind: list[memoryview | None] = []
    content = memoryview(body)
    for number, tensor in enumerate(request.inputs):
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            behind.append(None)
            continue
        place = f"$.inputs[{number}].parameters.binary_data_size"
        if type(size) is not int or size < 0:
            raise RequestError(422, "expected the number of bytes behind the JSON", place)
        if size > len(body) - end:
            raise RequestError(400, f"expected {size} bytes behind the JSON, found {len(body) - end}", place)
        behind.append(content[end : end + size])
        end += size
    if end != len(body):
        raise RequestError(400, f"found {len(body) - end} bytes behind the JSON that belong to no input")
    return request, behind


def arrays_of(
    request: InferenceRequest, behind: Sequence[memoryview | None], tensors: Mapping[str, Tensor]
) -> dict[str, NDArray[Any]]:
    """
    The inputs by their names, in the dtypes and shapes that the model takes.

    Raises:
        RequestError: 422, for an input that there is not, that is missing or there twice, or has another datatype or
            shape.
    """
    found: dict[str, NDArray[Any]] = {}
    for number, (given, content) in enumerate(zip(request.inputs, behind, strict=True)):
        path = f"$.inputs[{number}]"
        tensor = tensors.get(given.name)
        if tensor is None:
            raise RequestError(422, f"expected {', '.join(tensors)}, found {given.name[:80]!a}", f"{path}.name")
        if given.name in found:
            raise RequestError(422, f"expected each input once, found {given.name} again", f"{path}.name")
        found[given.name] = _array(given, content, tensor, path)
    missing = [name for name, tensor in tensors.items() if not tensor.optional and name not in found]
    if missing:
        raise RequestError(422, f"expected the inputs {', '.join(tensors)}, found no {', '.join(missing)}", "$.inputs")
    return found


def _array(given: GivenTensor, content: memoryview | None, tensor: Tensor, path: str) -> NDArray[Any]:
    if given.datatype != DATATYPES[tensor.dtype]:
        message = f"{tensor.name}: expected {DATATYPES[tensor.dtype]}, found {given.datatype[:20]!a}"
        raise RequestError(422, message, f"{path}.datatype")
    shape = tuple(given.shape)
    fits = len(shape) == len(tensor.shape) and all(
        size == wanted or (wanted < 0 < size) for size, wanted in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        expected = list(tensor.shape)
        raise RequestError(
            422, f"{tensor.name}: expected the shape {expected}, found {given.shape[:32]}", f"{path}.shape"
        )
    if SHARED_MEMORY in given.parameters:
        raise RequestError(422, "shared memory is not supported: send the values", f"{path}.parameters")
    if content is not None:
        return _from_bytes(content, tensor, shape, path)
    if given.data is ABSENT:
        raise RequestError(422, "expected data, or binary_data_size in the parameters", path)
    return _from_json(bytes(given.data), tensor, shape, f"{path}.data")


def _from_bytes(content: memoryview, tensor: Tensor, shape: tuple[int, ...], path: str) -> NDArray[Any]:
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    expected = math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        message = f"{tensor.name}: expected {expected} bytes for shape {list(shape)} of {DATATYPES[tensor.dtype]}"
        raise RequestError(422, f"{message}, found {len(content)}", path)
    if tensor.dtype == "bool":
        return np.frombuffer(content, np.uint8).astype(np.bool_).reshape(shape)
    return np.frombuffer(content, dtype).astype(tensor.dtype, copy=False).reshape(shape)


def _from_json(content: bytes, tensor: Tensor, shape: tuple[int, ...], path: str) -> NDArray[Any]:
    nested = content[1:].lstrip()[:1] == b"["
    try:
        values = parse(_values(tensor.dtype, len(shape) if nested else 1), content)
    except RequestError as error:
        raise RequestError(error.status, error.message, path + error.path.removeprefix("$")) from None
    try:
        array = np.array(values, tensor.dtype)
    except ValueError:
        raise RequestError(422, "expected nested arrays of one length at each depth", path) from None
    if array.size != math.prod(shape) or (nested and array.shape != shape):
        found = f"{list(array.shape)}" if nested else f"{array.size} values"
        raise RequestError(422, f"{tensor.name}: expected values for the shape {list(shape)}, found {found}", path)
    return array.reshape(shape)


@cache
def _values(dtype: str, depth: int) -> "msgspec.json.Decoder[list[Any]]":
    """
    What reads the values of a tensor, which lie so deep in arrays.
    """
    element: Any = element_type(dtype)
    for _ in range(depth):
        element = list[element]
    return msgspec.json.Decoder(element)


def flag(parameters: Mapping[str, Any], name: str, otherwise: bool, path: str) -> bool:
    """
    A parameter that is true or false.

    Raises:
        RequestError: 422, if it is something else.
    """
    value = parameters.get(name, otherwise)
    if not isinstance(value, bool):
        raise RequestError(422, "expected true or false", f"{path}.{name}")
    return value


def wanted_of(request: InferenceRequest, tensors: Iterable[str]) -> dict[str, bool]:
    """
    The outputs that a request wants, and whether as bytes.

    Raises:
        RequestError: 422, for an output that there is not, or in a form that it is not given in.
    """
    as_bytes = flag(request.parameters, "binary_data_output", False, "$.parameters")
    names = tuple(tensors)
    if not request.outputs:
        return dict.fromkeys(names, as_bytes)
    wanted = {}
    for number, output in enumerate(request.outputs):
        path = f"$.outputs[{number}]"
        if output.name not in names:
            raise RequestError(422, f"expected {', '.join(names)}, found {output.name[:80]!a}", f"{path}.name")
        for name in (SHARED_MEMORY, "classification"):
            if output.parameters.get(name):
                raise RequestError(422, f"{name} is not supported", f"{path}.parameters.{name}")
        wanted[output.name] = flag(output.parameters, "binary_data", as_bytes, f"{path}.parameters")
    return wanted


def answer_with(head: dict[str, Any], arrays: Mapping[str, NDArray[Any]], wanted: Mapping[str, bool]) -> Answer:
    """
    The answer with these outputs.

    Args:
        head: what it says besides.
        arrays: the outputs by their names.
        wanted: those that are given, and whether as bytes.
    """
    outputs, behind = [], []
    for name, as_bytes in wanted.items():
        array = arrays[name]
        output: dict[str, Any] = {"name": name, "datatype": DATATYPES[array.dtype.name], "shape": array.shape}
        if as_bytes:
            behind.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
            output["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            output["data"] = array.ravel().tolist()
        outputs.append(output)
    content = msgspec.json.encode({**head, "outputs": outputs})
    if not behind:
        return 200, JSON, content
    headers = [("content-type", BYTES), (HEADER_LENGTH, str(len(content)))]
    return 200, headers, b"".join([content, *behind])
