"""
What JSON Schema can't say of a request: schemathesis loads this (SCHEMATHESIS_HOOKS) before it asks a server.

Requests that are meant to be right are made so where numbers depend on each other: bytes of an array and its shape,
rows of masks and of observations, names and sizes of tensors. Whole numbers are written as such, where the schema also
takes 1.0; all are kept small, since a network's output must be finite.
Requests that are meant to be wrong stay as they are.
"""

import base64
import json
from typing import Any

import numpy as np
import schemathesis

JSON = "application/json"
LARGE = 1e6


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive or not case.media_type:
        return
    content = case.operation.definition.raw["requestBody"]["content"]
    example = next(iter(content[JSON]["examples"].values()))["value"]
    if case.media_type != JSON:
        observation = example.get("observation")
        case.body = json.dumps(example).encode() if observation is None else np.array(observation, "<f4").tobytes()
    elif isinstance(case.body, dict):
        right = inference if case.operation.path.endswith("/infer") else predicted
        case.body = right(dict(case.body), example)


def inference(body: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {**body, "inputs": example["inputs"]}


def predicted(body: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    body.pop("state", None)
    if "inputs" in example:
        return {**body, "inputs": example["inputs"]}
    rows = body.get("observations")
    if isinstance(rows, dict):
        body["observations"] = encoded(np.stack([np.zeros(np.shape(example["observation"]))] * 2))
        rows = [0, 0]
    elif rows is not None:
        body["observations"] = [fitted(row, example["observation"]) for row in rows]
    if "observation" in body:
        body["observation"] = fitted(body["observation"], example["observation"])
    for name, each in (("action_masks", None), ("episode_start", True)):
        if rows is not None and isinstance(body.get(name), list):
            found = body[name][0] if body[name] else each
            body[name] = [found or each] * len(rows)
            if found is None:
                body.pop(name)
    return {name: small(value) for name, value in body.items()}


def fitted(value: Any, example: Any) -> Any:
    """
    The value where it has the example's form, otherwise the example.
    """
    if isinstance(example, dict):
        return {key: fitted(part, example[key]) for key, part in value.items()}
    if isinstance(value, dict):
        return encoded(np.array(example))
    try:
        return small(value) if np.shape(value) == np.shape(example) else example
    except ValueError:
        return example


def encoded(array: np.ndarray) -> dict[str, Any]:
    text = base64.b64encode(array.astype(np.uint8).tobytes()).decode()
    return {"base64": text, "shape": list(array.shape), "dtype": "uint8"}


def small(value: Any) -> Any:
    if isinstance(value, list):
        return [small(part) for part in value]
    if isinstance(value, float):
        value = min(max(value, -LARGE), LARGE)
        return int(value) if value.is_integer() else value
    return value


@schemathesis.deserializer("application/octet-stream")
def as_bytes(context: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    return list(response.content)
