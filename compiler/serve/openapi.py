"""
`/openapi.json`: what can be asked of this server, as OpenAPI 3.1 has it. Imported when first asked for.

The schemas of requests are those of the types that read them. What the types leave to the code, or the code allows
besides, is said in the descriptions.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from compiler import __version__
from compiler.serve.answers import BYTES
from compiler.serve.inference_v2 import NamedTensors, named_tensors
from compiler.serve.models import Served
from compiler.serve.policies import Policy
from compiler.serve.programs import Program
from compiler.serve.schemas import Schema, action_schema, list_of, narrowed, object_of
from compiler.serve.tensors import DATATYPES, InferenceRequest, Tensor

JSON: Final = "application/json"
REFERENCE: Final = "#/components/schemas/"

ERRORS: Final = {
    "400": "The body is not JSON, or not HTTP.",
    "401": "The bearer token is missing, or another.",
    "404": "There is no such session: it is unknown, or has expired.",
    "408": "The body took too long to arrive.",
    "409": "The session was continued by another request meanwhile.",
    "413": "The body is larger than this server takes.",
    "415": "The body is of a type that is not read here.",
    "422": "The body is JSON, but not for this model: `path` is the place, `error` says what was expected and found.",
    "503": "There are too many requests, or the server is stopping: ask again after `Retry-After` seconds.",
}
BODY_ERRORS: Final = ("400", "408", "413", "415", "422")
ERROR: Final[Schema] = {
    "type": "object",
    "description": "Why a request was not answered as it asks.",
    "properties": {
        "error": {"type": "string", "description": "For a person: what was expected, and what was found."},
        "path": {"type": "string", "description": "The place in the request, as `$.observation[3]`."},
    },
    "required": ["error"],
}


def document(models: Iterable[Served], paths: Collection[str], secured: bool) -> dict[str, Any]:
    """
    The document for these models.

    Args:
        models: the first one is also at `/predict`.
        paths: all addresses that the server has: no other is in the document.
        secured: whether it wants a bearer token.
    """
    schemas: dict[str, Schema] = {"Error": ERROR}
    places = _general()
    for number, model in enumerate(models):
        places |= _of_model(model, number == 0, schemas)
    token = {"token": {"type": "http", "scheme": "bearer"}}
    for item in places.values():
        for operation in item.values():
            public = operation.pop("public", False)
            errors = [*operation.pop("errors", ()), "503", *(["401"] if secured and not public else [])]
            operation["responses"] = {error: _error(error) for error in sorted(errors)} | operation["responses"]
            if secured and public:
                operation["security"] = []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "policyc serve",
            "version": __version__,
            "description": "Compiled models behind HTTP. Errors are JSON: `error` says what is wrong, `path` where.",
        },
        "servers": [{"url": "/"}],
        "paths": {path: item for path, item in places.items() if path in paths},
        "components": {"schemas": schemas, **({"securitySchemes": token} if secured else {})},
        **({"security": [{"token": []}]} if secured else {}),
    }


def _general() -> dict[str, Any]:
    """
    What asks no model.
    """
    text = {"type": "string"}
    truth = {"type": "boolean"}
    server = object_of({"name": text, "version": text, "extensions": {"type": "array", "items": text}})
    ready = _get("Whether requests are answered", {JSON: object_of({"ready": truth})}, public=True)
    ready["responses"]["503"] = _answer("The server is stopping.", {JSON: object_of({"ready": truth})})
    formats = {"text/plain": text, "application/openmetrics-text": text}
    described: Schema = {"type": "array", "items": {"type": "object"}}
    return {
        "/": {"get": _get("A page to look at the models", {"text/html": text}, public=True)},
        "/docs": {"get": _get("This document, drawn", {"text/html": text}, public=True)},
        "/openapi.json": {"get": _get("This document", {JSON: {"type": "object"}})},
        "/metrics": {"get": _get("Metrics for Prometheus, or OpenMetrics where `Accept` asks for it", formats)},
        "/models": {"get": _get("What the models are", {JSON: object_of({"models": described})})},
        "/v2": {"get": _get("What the server is", {JSON: server})},
        "/v2/health/live": {"get": _get("Whether the server lives", {JSON: object_of({"live": truth})}, public=True)},
        "/v2/health/ready": {"get": ready},
    }


def _of_model(model: Served, first: bool, schemas: dict[str, Schema]) -> dict[str, Any]:
    """
    What asks one model; its schemas are added to those that there are.
    """
    name, tensors = model.name, named_tensors(model.endpoint)
    schemas |= _schemas_of(name, model.endpoint.request_type)
    if isinstance(model.endpoint, Policy):
        predict = _predict_policy(name, model.endpoint, schemas)
    else:
        assert isinstance(model.endpoint, Program)
        predict = _predict_program(name, model.endpoint)
    schemas |= _schemas_of(name, InferenceRequest)
    schemas[f"{name}.InferenceRequest"] = _inference(tensors, schemas, name)
    schemas.pop(f"{name}.GivenTensor")
    schemas.pop(f"{name}.WantedTensor")
    truth, text = {"type": "boolean"}, {"type": "string"}
    tensor = object_of({"name": text, "datatype": text, "shape": {"type": "array", "items": {"type": "integer"}}})
    listed = {"type": "array", "items": tensor}
    metadata = object_of({"name": text, "platform": text, "inputs": listed, "outputs": listed})
    place = f"/v2/models/{name}"
    short = {"/predict": {"post": {**predict, "responses": dict(predict["responses"])}}} if first else {}
    return {
        **short,
        f"/models/{name}/predict": {"post": predict},
        f"/models/{name}": {"get": _get(f"What {name} is", {JSON: {"type": "object"}})},
        place: {"get": _get(f"The tensors of {name}", {JSON: metadata})},
        f"{place}/ready": {"get": _get(f"Whether {name} answers", {JSON: object_of({"name": text, "ready": truth})})},
        f"{place}/infer": {"post": _infer(name, tensors)},
    }


def _schemas_of(name: str, request_type: Any) -> dict[str, Schema]:
    """
    The schemas of a type and of all that it is made of, under the name of the model.
    """
    _, found = msgspec.json.schema_components([request_type], ref_template=f"{REFERENCE}{name}.{{name}}")
    return {f"{name}.{part}": schema for part, schema in found.items()}


def _predict_policy(name: str, policy: Policy, schemas: dict[str, Schema]) -> dict[str, Any]:
    schemas[f"{name}.Predict"] = _forms(policy, schemas[f"{name}.Predict"])
    if policy.space["kind"] == "Dict":
        members = schemas[f"{name}.Observation"]["properties"]
        members |= {key: narrowed(members[key], space) for key, space in policy.space["spaces"].items()}
    action = action_schema(policy.spec["action"])
    answers: list[Schema] = [
        object_of({key: value}) for key, value in (("action", action), ("actions", list_of(action)))
    ]
    details: dict[str, Schema] = {key: {} for key in ("state", "session", *policy.details, "microseconds")}
    for answer in answers:
        answer["properties"] |= details
    content = {JSON: {"schema": {"$ref": f"{REFERENCE}{name}.Predict"}, "examples": _policy_examples(policy)}}
    given: dict[str, Schema] = {JSON: {"anyOf": answers}}
    if policy.size and not policy.recurrent:
        content[BYTES] = {"schema": {"description": f"float32, little endian: {policy.size} for each observation"}}
        given[BYTES] = {"description": "The actions, little endian; `x-shape` and `x-dtype` say how."}
    errors = [*BODY_ERRORS, *(("404", "409") if policy.recurrent else ())]
    summary = f"The action of {name} for an observation, or for each of a batch"
    return _post(summary, content, given, errors)


def _forms(policy: Policy, whole: Schema) -> Schema:
    """
    The schema of a request in its forms: the type has all members of all of them.
    """
    members: dict[str, Schema] = whole["properties"]
    fields = {name: members[name] for name in policy.fields}
    forms = ("observation", "observations", *fields, "action_masks", "episode_start")
    common = {name: schema for name, schema in members.items() if name not in forms}
    one, batch = dict(common), dict(common)
    if policy.masked:
        count = policy.spec["action_masks"]["count"]
        masks = list_of({"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}]}, count)
        one["action_masks"], batch["action_masks"] = masks, list_of(masks)
    if policy.recurrent:
        one["episode_start"] = {"type": "boolean", "default": False}
        batch["episode_start"] = members["episode_start"]
    observation, rows = members["observation"], members["observations"]
    if policy.space["kind"] != "Dict":
        observation = narrowed(observation, policy.space)
        rows = {"anyOf": [{**rows["anyOf"][0], "items": observation}, rows["anyOf"][1]]}
    found = [
        object_of({"observation": observation}, one),
        object_of({"observations": rows}, batch),
        *([object_of(fields, one)] if fields else []),
    ]
    either = {"not": {"required": ["state", "session"]}} if policy.recurrent else {}
    return {"title": whole["title"], "anyOf": [{**form, **either, "additionalProperties": False} for form in found]}


def _policy_examples(policy: Policy) -> dict[str, Any]:
    observation = _plain(policy.example().observation)
    examples: dict[str, Any] = {"observation": {"observation": observation, "details": True}}
    examples["batch"] = {"observations": [observation, observation]}
    if policy.fields:
        examples["fields"] = dict.fromkeys(policy.fields, 0.0)
    if policy.masked:
        masks = [True] * policy.spec["action_masks"]["count"]
        examples["masks"] = {"observation": observation, "action_masks": masks}
    if policy.recurrent:
        examples["session"] = {"observation": observation, "session": "new"}
    return {name: {"value": value} for name, value in examples.items()}


def _predict_program(name: str, program: Program) -> dict[str, Any]:
    outputs = object_of({array["name"]: {} for array in program.spec["outputs"]})
    answer = object_of({"outputs": outputs}, {"state": {}, "session": {}, "microseconds": {"type": "number"}})
    inputs = dict(zip(program.inputs, map(_plain, program.example().arrays), strict=True))
    examples = {"inputs": {"value": {"inputs": inputs}}}
    content = {JSON: {"schema": {"$ref": f"{REFERENCE}{name}.Predict"}, "examples": examples}}
    errors = [*BODY_ERRORS, *(("404", "409") if program.recurrent else ())]
    return _post(f"The outputs of {name} for its inputs", content, {JSON: answer}, errors)


def _infer(name: str, tensors: NamedTensors) -> dict[str, Any]:
    inputs = [_example(tensor) for tensor in tensors.inputs.values() if not tensor.optional]
    examples = {"inputs": {"value": {"inputs": inputs}}}
    content = {
        JSON: {"schema": {"$ref": f"{REFERENCE}{name}.InferenceRequest"}, "examples": examples},
        BYTES: {"schema": {"description": "The same, the tensors' bytes behind: `Inference-Header-Content-Length`."}},
    }
    text = {"type": "string"}
    output = object_of({"name": text, "datatype": text, "shape": {"type": "array"}}, {"data": {"type": "array"}})
    answer = object_of({"model_name": text, "outputs": list_of(output)}, {"id": text})
    given = {JSON: answer, BYTES: {"description": "The same, with bytes behind."}}
    return _post(f"Inference with {name}, as the Open Inference Protocol has it", content, given, BODY_ERRORS)


def _inference(tensors: NamedTensors, schemas: Mapping[str, Schema], name: str) -> Schema:
    """
    The schema of a request for inference, with the names, datatypes and shapes that this model has.
    """
    whole, given, wanted = (schemas[f"{name}.{part}"] for part in ("InferenceRequest", "GivenTensor", "WantedTensor"))
    truth = {"type": "boolean"}
    size = {"type": "object", "properties": {"binary_data_size": {"type": "integer", "minimum": 0}}}

    def narrowed(tensor: Tensor) -> Schema:
        sizes = [{"type": "integer", "minimum": 1} if size < 0 else {"const": size} for size in tensor.shape]
        shape = {"type": "array", "minItems": len(sizes), "maxItems": len(sizes), "prefixItems": sizes}
        fixed = {"name": {"const": tensor.name}, "datatype": {"const": DATATYPES[tensor.dtype]}, "shape": shape}
        return {**given, "properties": {**given["properties"], **fixed, "data": {"type": "array"}, "parameters": size}}

    binary = {"type": "object", "properties": {"binary_data": truth}}
    output = {**wanted, "properties": {"name": {"enum": list(tensors.outputs)}, "parameters": binary}}
    options = {"type": "object", "properties": {"deterministic": truth, "binary_data_output": truth}}
    inputs = {"type": "array", "items": {"anyOf": [narrowed(tensor) for tensor in tensors.inputs.values()]}}
    members = {"inputs": inputs, "outputs": {"type": "array", "items": output}, "parameters": options}
    return {**whole, "properties": {**whole["properties"], **members}}


def _example(tensor: Tensor) -> dict[str, Any]:
    """
    A tensor of zeros, one of a batch.
    """
    shape = [max(size, 1) for size in tensor.shape]
    return {**tensor.described(), "shape": shape, "data": np.zeros(shape, tensor.dtype).ravel().tolist()}


def _plain(value: Any) -> Any:
    return {key: part.tolist() for key, part in value.items()} if isinstance(value, dict) else value.tolist()


def _get(summary: str, contents: dict[str, Schema], public: bool = False) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": _answer("The answer.", contents)}, "public": public}


def _post(summary: str, content: dict[str, Any], given: dict[str, Schema], errors: Iterable[str]) -> dict[str, Any]:
    body = {"required": True, "content": content}
    return {
        "summary": summary,
        "requestBody": body,
        "responses": {"200": _answer("The answer.", given)},
        "errors": errors,
    }


def _answer(description: str, contents: dict[str, Schema]) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema} for kind, schema in contents.items()}}


def _error(status: str) -> dict[str, Any]:
    answer = _answer(ERRORS[status], {JSON: {"$ref": f"{REFERENCE}Error"}})
    if status == "503":
        answer["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return answer
