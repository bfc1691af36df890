"""
The Open Inference Protocol, version 2, over HTTP: what is at `/v2`.

The first dimension of every tensor is the batch, and is always there, but where a program was built for one observation
at a time. A policy's parts of a Dict observation are inputs by their keys; masks are `action_masks`; what a recurrent
policy remembers are the inputs and outputs `state_h` and `state_c`, of shape (batch, layers, units), and
`episode_start` forgets it first. What a program remembers has its own names.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from compiler import __version__
from compiler.serve.answers import Answer, RequestError
from compiler.serve.endpoint import Endpoint
from compiler.serve.policies import Policy, Question
from compiler.serve.policies import Results as PolicyResults
from compiler.serve.programs import Program
from compiler.serve.programs import Question as ProgramQuestion
from compiler.serve.programs import Results as ProgramResults
from compiler.serve.sessions import Memory
from compiler.serve.tensors import Tensor, answer_with, arrays_of, flag, read_request, wanted_of

SERVER: Final = {"name": "policyc", "version": __version__, "extensions": ["binary_tensor_data"]}
"""What `/v2` says."""

STATES: Final = ("state_h", "state_c")

Arrays = dict[str, NDArray[Any]]


class PolicyTensors:
    """
    A policy as named tensors.
    """

    def __init__(self, policy: Policy) -> None:
        self._details, self._recurrent = policy.details, policy.recurrent
        spec, space = policy.spec, policy.spec["observation"]
        several = space["kind"] == "Dict"
        parts: Mapping[str, Any] = space["spaces"] if several else {"observation": space}
        self._parts = tuple(parts) if several else ()
        inputs = [_of_space(name, part) for name, part in parts.items()]
        # Bits are float32 from one kind of policy and int64 from another, as in Stable-Baselines3.
        dtype = policy.package.predictor.ACTION_DTYPE.name
        outputs = [_of_space("action", spec["action"])._replace(dtype=dtype)]
        count = spec["scores"]["count"]
        found = (Tensor("scores", "float32", (-1, count)), Tensor("probabilities", "float64", (-1, count)))
        outputs += [tensor for tensor in (*found, Tensor("value", "float32", (-1,))) if tensor.name in policy.details]
        if policy.masked:
            inputs.append(Tensor("action_masks", "bool", (-1, spec["action_masks"]["count"]), optional=True))
        if policy.recurrent:
            shape = (-1, spec["state"]["layers"], spec["state"]["units"])
            states = [Tensor(name, "float32", shape, optional=True) for name in STATES]
            inputs += [*states, Tensor("episode_start", "bool", (-1,), optional=True)]
            outputs += states
        self.inputs = {tensor.name: tensor for tensor in inputs}
        self.outputs = {tensor.name: tensor for tensor in outputs}

    def question(self, arrays: Arrays, wanted: Iterable[str], deterministic: bool) -> Question:
        """
        What is asked of the policy: a batch.

        Raises:
            RequestError: 422, if the inputs are of different batches, or a part of the state is missing.
        """
        sizes = {len(array) for array in arrays.values()}
        if len(sizes) > 1:
            rows = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
            raise RequestError(422, f"expected as many rows in all inputs, found {rows}", "$.inputs")
        observation = {key: arrays[key] for key in self._parts} if self._parts else arrays["observation"]
        details = tuple(name for name in wanted if name in self._details)
        question = Question(observation, False, sizes.pop(), deterministic, details)
        question.action_masks = arrays.get("action_masks")
        question.episode_start = arrays.get("episode_start")
        if state := _together(arrays, STATES):
            # The predictor has the layers in front, as Stable-Baselines3.
            question.memory = Memory(tuple(part.swapaxes(0, 1) for part in state))
        return question

    def arrays(self, results: PolicyResults) -> Arrays:
        """
        What was computed, as outputs.
        """
        actions, state, found = results
        states = zip(STATES, state, strict=True) if self._recurrent else ()
        return {"action": actions, **found, **{name: part.swapaxes(0, 1) for name, part in states}}


class ProgramTensors:
    """
    A PyTorch program as named tensors.
    """

    def __init__(self, program: Program) -> None:
        self._names = tuple(program.inputs)
        inputs, outputs = (
            [Tensor(array["name"], array["dtype"], _sizes(array["shape"])) for array in program.spec[side]]
            for side in ("inputs", "outputs")
        )
        taken = {tensor.name for tensor in (*inputs, *outputs)}
        self._states = [
            Tensor(
                f"state_{state['name']}" if state["name"] in taken else state["name"], "float32", state["shape"], True
            )
            for state in program.spec.get("states", ())
        ]
        self.inputs = {tensor.name: tensor for tensor in (*inputs, *self._states)}
        self.outputs = {tensor.name: tensor for tensor in (*outputs, *self._states)}

    def question(self, arrays: Arrays, wanted: Iterable[str], deterministic: bool) -> ProgramQuestion:
        """
        What is asked of the program, which computes all outputs and draws nothing.

        Raises:
            RequestError: 422, if a part of the state is missing.
        """
        state = _together(arrays, [tensor.name for tensor in self._states])
        return ProgramQuestion([arrays[name] for name in self._names], Memory(state) if state else None)

    def arrays(self, results: ProgramResults) -> Arrays:
        """
        What was computed, as outputs.
        """
        outputs, after, _ = results
        return {**outputs, **{tensor.name: part for tensor, part in zip(self._states, after or (), strict=True)}}


NamedTensors = PolicyTensors | ProgramTensors


def named_tensors(endpoint: Endpoint) -> NamedTensors:
    """
    A model's inputs and outputs as the protocol has them.
    """
    if isinstance(endpoint, Policy):
        return PolicyTensors(endpoint)
    assert isinstance(endpoint, Program)
    return ProgramTensors(endpoint)


def _of_space(name: str, space: Mapping[str, Any]) -> Tensor:
    """
    A batch of what is in a space.
    """
    match space["kind"]:
        case "Box":
            return Tensor(name, space["dtype"], (-1, *space["shape"]))
        case "Discrete":
            return Tensor(name, "int64", (-1,))
        case "MultiDiscrete":
            return Tensor(name, "int64", (-1, len(space["nvec"])))
        case _:  # MultiBinary
            return Tensor(name, "int8", (-1, *space["shape"]))


def _sizes(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    """
    The shape of an array in SPEC, where a text stands for any size.
    """
    return tuple(-1 if isinstance(size, str) else size for size in shape)


def _together(arrays: Arrays, names: Sequence[str]) -> tuple[NDArray[Any], ...] | None:
    """
    The arrays with these names; None if there is none of them.

    Raises:
        RequestError: 422, if there are some without the others.
    """
    found = [name for name in names if name in arrays]
    if not found:
        return None
    if len(found) < len(names):
        raise RequestError(422, f"expected all of {', '.join(names)}, found {', '.join(found)}", "$.inputs")
    return tuple(arrays[name] for name in names)


@dataclass(frozen=True)
class Inference:
    """
    A request for inference.

    Attributes:
        model: its name.
        tensors: its inputs and outputs.
        id: what the client calls the request; "" for nothing.
        question: for the endpoint.
        wanted: the outputs that are asked for, and whether as bytes.
    """

    model: str
    tensors: NamedTensors
    id: str
    question: Any
    wanted: Mapping[str, bool]

    def answer(self, results: Any) -> Answer:
        """
        The answer with what the endpoint computed.
        """
        head = {"model_name": self.model, **({"id": self.id} if self.id else {})}
        return answer_with(head, self.tensors.arrays(results), self.wanted)


def inference_of(model: str, tensors: NamedTensors, body: bytes, header_length: str | None) -> Inference:
    """
    What a body asks.

    Args:
        model: its name.
        tensors: its inputs and outputs.
        body: of the request: JSON, with or without bytes behind it.
        header_length: the value of the header `Inference-Header-Content-Length`.

    Raises:
        RequestError: 400 for a body that is no JSON, or has other bytes behind it than it says; 422 for a request that
            is not for this model.
    """
    request, behind = read_request(body, header_length)
    deterministic = flag(request.parameters, "deterministic", True, "$.parameters")
    if request.parameters.get("sequence_id"):
        message = "sequences are not kept here: send the states that an answer gives with the next request"
        raise RequestError(422, message, "$.parameters.sequence_id")
    arrays, wanted = arrays_of(request, behind, tensors.inputs), wanted_of(request, tensors.outputs)
    return Inference(model, tensors, request.id, tensors.question(arrays, wanted, deterministic), wanted)


@contextmanager
def among_inputs() -> Iterator[None]:
    """
    Says of what the predictor refuses that it is one of the inputs: the message has its name.
    """
    try:
        yield
    except RequestError as error:
        raise RequestError(error.status, error.message, "$.inputs") from None


def metadata(name: str, model: NamedTensors) -> dict[str, Any]:
    """
    What `/v2/models/{name}` says.
    """
    inputs, outputs = ([tensor.described() for tensor in side.values()] for side in (model.inputs, model.outputs))
    return {"name": name, "platform": "policyc", "inputs": inputs, "outputs": outputs}
