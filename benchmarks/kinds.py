"""
Policies that take more than an observation: a recurrent state, or a mask.

ONNX Runtime stands for the peers that run bare networks: it is spared the beginnings of episodes and all checks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import agents, peers
from benchmarks.contest import Contestant, Effort
from benchmarks.network import recurrent_of
from benchmarks.report import Table, measured
from benchmarks.subjects import Bench, Subject

OBSERVATIONS = 64
GOES_ON = np.zeros(1, np.bool_)
"""That no episode begins."""

Predict = Callable[..., tuple[Any, Any]]
Call = Callable[[Any], Any]


def recurrent(bench: Bench, effort: Effort) -> list[Table]:
    """
    One observation after the other of an episode, the state of each handed to the next.
    """
    subject = bench.recurrent
    episode, agent = subject.predictor.Episode(), _agent(subject)
    calls = {
        "policyc Episode().act": episode.act,
        "policyc act": following(subject.predictor.act, episode_start=False),
        "policyc predict": following(subject.predictor.predict, episode_start=GOES_ON),
        "RecurrentPPO.predict": following(agent.predict, episode_start=GOES_ON, deterministic=True),
    }
    expected = answers(following(_agent(subject).predict, deterministic=True), _rows(subject))
    title = "One observation, RecurrentPPO (17-LSTM 256-64-64-6, tanh), the state fed back, one thread"
    runtime = peers.entered(
        peers.ONNX_RUNTIME,
        lambda: peers.recurrent_onnxruntime(recurrent_of(subject.model), _rows(subject)),
        expected,
    )
    return [measured("recurrent", title, [*entrants(calls, _rows(subject), expected), runtime], effort, "SB3 25 x")]


def masked(bench: Bench, effort: Effort) -> list[Table]:
    """
    One observation, with a mask of the actions that are allowed.
    """
    subject = bench.masked
    act, predict, agent = subject.predictor.act, subject.predictor.predict, _agent(subject)
    random = np.random.default_rng(1)
    masks = random.random((OBSERVATIONS, agents.CHOICES)) < 0.5
    masks[:, 0] |= ~masks.any(axis=1)
    questions = list(zip(_rows(subject), masks, strict=True))
    calls: dict[str, Call] = {
        "policyc act": lambda question: act(*question),
        "policyc predict": lambda question: predict(question[0], action_masks=question[1])[0],
        "MaskablePPO.predict": lambda question: agent.predict(
            question[0], action_masks=question[1], deterministic=True
        )[0],
    }
    expected = answers(calls["MaskablePPO.predict"], questions)
    title = "One observation with a mask, MaskablePPO (8-64-64-6, tanh), one thread"
    runtime = peers.entered(peers.ONNX_RUNTIME, lambda: peers.masked_onnxruntime(subject.network, questions), expected)
    return [measured("masked", title, [*entrants(calls, questions, expected), runtime], effort, "SB3 400 x")]


def following(predict: Predict, **arguments: Any) -> Call:
    """
    A call with an observation, and with the state that the call before returned.
    """
    state = None

    def call(observation: Any) -> Any:
        nonlocal state
        action, state = predict(observation, state=state, **arguments)
        return action

    return call


def _agent(subject: Subject) -> Any:
    import torch

    torch.set_num_threads(1)
    return subject.agent()


def _rows(subject: Subject) -> list[NDArray[Any]]:
    return [batch[0] for batch in subject.observations(OBSERVATIONS, 1)]


def answers(call: Call, questions: Sequence[Any]) -> list[NDArray[Any]]:
    """
    What somebody answers, as `entrants` takes it.
    """
    return [np.asarray(call(question))[np.newaxis] for question in questions]


def entrants(calls: dict[str, Call], questions: Sequence[Any], expected: Sequence[NDArray[Any]]) -> list[Contestant]:
    """
    The contestants, each compared with the agent's own answers first.
    """
    return [peers.checked(Contestant(name, call, questions), expected) for name, call in calls.items()]
