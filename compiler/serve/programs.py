"""
A PyTorch program behind HTTP: named arrays in, named arrays out, and the state between two steps where it has one.
"""

import time
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiler.serve.answers import BYTES, Answer, RequestError, json_answer
from compiler.serve.requests import ABSENT, Absent, Encoded, array, decoded, parse
from compiler.serve.states import from_token, to_token


class Predict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """
    Arrays by the names of the inputs, each with or without the batch in front.
    """

    inputs: dict[str, Any]
    state: str | Absent = ABSENT
    details: bool = False


class Program:
    """
    A package that was made from a program: its `predict` takes arrays and gives arrays.

    Args:
        package: the imported package.
        spec: its SPEC.
        sha256: of its model file.
    """

    def __init__(self, package: ModuleType, spec: dict[str, Any], sha256: str) -> None:
        self.package, self.spec, self.sha256 = package, spec, sha256
        self.recurrent = "states" in spec
        self.request_type = Predict
        self.decoder = msgspec.json.Decoder(Predict)
        self.inputs = {array["name"]: array for array in spec["inputs"]}
        self.outputs = [array["name"] for array in spec["outputs"]]

    def answer(self, body: bytes) -> Answer:
        """
        The answer for a body of JSON.

        Raises:
            RequestError: as `requests.parse`; 422 for what the predictor refuses.
        """
        request = parse(self.decoder, body)
        if set(request.inputs) != set(self.inputs):
            found = ", ".join(sorted(map(ascii, request.inputs)))[:200] or "none"
            raise RequestError(422, f"expected {', '.join(self.inputs)}, found {found}", "$.inputs")
        arrays = [self._array(name, request.inputs[name]) for name in self.inputs]
        state = None
        if request.state is not ABSENT:
            if not self.recurrent:
                raise RequestError(422, "this model has no state", "$.state")
            state = from_token(request.state, self.sha256, tuple(tuple(s["shape"]) for s in self.spec["states"]))
        begin = time.perf_counter_ns()
        outputs, after = self.compute(arrays, state)
        spent = time.perf_counter_ns() - begin
        content: dict[str, Any] = {"outputs": {name: found.tolist() for name, found in outputs.items()}}
        if self.recurrent:
            content["state"] = to_token(self.sha256, after)
        return json_answer(content | ({"microseconds": spent / 1e3} if request.details else {}))

    def _array(self, name: str, value: Any) -> NDArray[Any]:
        path = f"$.inputs.{name}"
        if isinstance(value, dict):
            try:
                return decoded(msgspec.convert(value, Encoded), path)
            except msgspec.ValidationError as error:
                raise RequestError(422, str(error), path) from None
        found = array(value, "O", path) if not isinstance(value, list) else _numbers(value, path)
        dtype = self.inputs[name]["dtype"]
        if dtype not in ("float32", "float64") and found.dtype.kind not in "iub":
            raise RequestError(422, f"expected {dtype}, found other numbers", path)
        return found.astype(dtype) if dtype.startswith("float") else found

    def compute(self, arrays: list[NDArray[Any]], state: Any) -> tuple[dict[str, NDArray[Any]], Any]:
        """
        The outputs by their names, and the next state; None for a model without.

        Raises:
            RequestError: 422, for what the predictor refuses.
        """
        try:
            found = self.package.predict(*arrays, **({"state": state} if self.recurrent else {}))
        except (ValueError, TypeError) as error:
            raise RequestError(422, str(error), "$.inputs") from None
        outputs, after = found if self.recurrent else (found, None)
        parts = outputs if len(self.outputs) > 1 else (outputs,)
        return dict(zip(self.outputs, map(np.asarray, parts), strict=True)), after

    def answer_bytes(self, body: bytes) -> Answer:
        """
        No answer: bytes don't say which arrays they are.

        Raises:
            RequestError: 415.
        """
        raise RequestError(415, f"{BYTES} is for policies: send JSON, with arrays as base64 where they are large")


def _numbers(value: Any, path: str) -> NDArray[Any]:
    try:
        found = np.array(value)
    except (ValueError, TypeError, OverflowError):
        found = np.array(None)
    if found.dtype.kind not in "iubf":
        raise RequestError(422, "expected nested arrays of numbers, of one length at each depth", path)
    return found
