"""
What answers a request that has arrived: at once, or after its turn.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import msgspec

from compiler.serve.answers import BYTES, Answer, RequestError, json_answer
from compiler.serve.batching import Queue
from compiler.serve.endpoint import Endpoint
from compiler.serve.inference_v2 import Inference, NamedTensors, among_inputs, inference_of
from compiler.serve.tensors import HEADER_LENGTH

JSON_TYPES: Final = frozenset({"", "application/json", "application/x-www-form-urlencoded", "text/plain"})
"""Types of bodies that are read as JSON: `curl -d` says that it sends a form."""


class Call(msgspec.Struct, gc=False):
    """
    A request, as handlers see it.
    """

    headers: Any
    """`get(name, default)`, names in lower case."""
    body: bytes


Handler = Callable[[Call], "Answer | Awaitable[Answer]"]


def predicting(endpoint: Endpoint, queue: Queue | None) -> Handler:
    """
    What answers a request for an action: at once, or after waiting for its batch.
    """

    def at_once(call: Call) -> Answer:
        if is_json(call.headers):
            return endpoint.answer(call.body)
        return endpoint.answer_in_bytes(call.body)

    async def in_turn(call: Call, queue: Queue) -> Answer:
        ask = endpoint.question if is_json(call.headers) else endpoint.question_in_bytes
        question = ask(call.body)
        return endpoint.result(question, await queue.submit(question))

    return at_once if queue is None else partial(in_turn, queue=queue)


def is_json(headers: Any) -> bool:
    """
    Whether the body with these headers is JSON, otherwise it is bytes.

    Raises:
        RequestError: 415, if it is neither, or compressed.
    """
    if (coding := headers.get("content-encoding")) not in (None, "", "identity"):
        message = f"expected a body that is not compressed, found {coding[:20]!a}"
        raise RequestError(415, message, headers=[("accept-encoding", "identity")])
    kind = headers.get("content-type")
    if kind is None or kind in JSON_TYPES:
        return True
    kind = kind.partition(";")[0].strip().lower()
    if kind == BYTES:
        return False
    if kind in JSON_TYPES or kind.endswith("+json"):
        return True
    raise RequestError(415, f"expected a body of application/json or {BYTES}, found {kind[:60]!a}")


def inferring(name: str, endpoint: Endpoint, tensors: NamedTensors, queue: Queue | None) -> Handler:
    """
    What answers a request of the Open Inference Protocol, at once or in turn.
    """

    def asked(call: Call) -> Inference:
        is_json(call.headers)
        return inference_of(name, tensors, call.body, call.headers.get(HEADER_LENGTH))

    def at_once(call: Call) -> Answer:
        inference = asked(call)
        with among_inputs():
            return inference.answer(endpoint.compute(inference.question))

    async def in_turn(call: Call, queue: Queue) -> Answer:
        inference = asked(call)
        with among_inputs():
            return inference.answer(await queue.submit(inference.question))

    return at_once if queue is None else partial(in_turn, queue=queue)


def answering(content: Any) -> Handler:
    """
    What always answers the same.
    """
    answer = json_answer(content)
    return lambda _: answer
