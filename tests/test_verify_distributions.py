"""
Verification of what actions are drawn from.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compiler.errors import VerificationError
from compiler.ir import Discrete, Model, MultiBinary, Output, Sampling
from compiler.options import BuildOptions
from compiler.verify import verify
from tests import policies
from tests.numpy_predictor import NumpyPredictor


def with_sampling(model: Model, kind: str, **constants: np.ndarray) -> Model:
    """
    The policy, which draws from now on; with constants as outputs of the role `distribution`.
    """
    sketch = policies.Sketch()
    tensors, outputs = dict(model.tensors), list(model.outputs)
    for name, data in constants.items():
        sketch.graph.constant(name, data)
        tensors[name] = sketch.graph.tensors[name]
        outputs.append(Output(name, name, "distribution"))
    if kind == "state_dependent":
        outputs.append(Output("latent", "pi.tanh", "distribution"))
    assert model.policy is not None
    policy = replace(model.policy, sampling=Sampling(kind))
    return replace(model, tensors=tensors, outputs=tuple(outputs), policy=policy)


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


class Categorical(NumpyPredictor):
    def distribution(self, observation, action_masks=None):
        logits = self.scores(observation).astype(np.float64)
        if action_masks is not None:
            logits = np.where(action_masks, logits - np.abs(logits).max(), -1e8)
        return {"probabilities": softmax(logits)}


class Bernoulli(NumpyPredictor):
    def distribution(self, observation):
        with np.errstate(over="ignore"):
            return {"probabilities": 1 / (1 + np.exp(-self.scores(observation).astype(np.float64)))}


class Gaussian(NumpyPredictor):
    def distribution(self, observation):
        mean = self.scores(observation)
        return {"mean": mean, "std": np.broadcast_to(STD, mean.shape)}


class StateDependent(NumpyPredictor):
    def distribution(self, observation):
        latent = self.layers(observation)["pi.tanh"]
        return {"mean": self.scores(observation), "std": np.sqrt(latent**2 @ NOISE.astype(np.float64) ** 2 + 1e-6)}


STD = np.array([0.1, 1, 3], np.float32)
NOISE = np.random.default_rng(1).uniform(0.1, 2, (8, 3)).astype(np.float32)
BOX = policies.observing(policies.WIDE, policies.NARROW)
CASES: dict[str, tuple[Model, Any]] = {
    "categorical": (with_sampling(policies.observing(policies.WIDE), "categorical"), Categorical),
    "masked": (with_sampling(policies.masked(Discrete(6)), "categorical"), Categorical),
    "bernoulli": (with_sampling(policies.observing(policies.WIDE, MultiBinary((4,))), "bernoulli"), Bernoulli),
    "gaussian": (with_sampling(BOX, "gaussian", std=STD), Gaussian),
    "state_dependent": (with_sampling(BOX, "state_dependent", noise_std=NOISE), StateDependent),
}


def verified(name, change=lambda found: found):
    model, kind = CASES[name]
    predictor = kind(model)
    distribution = predictor.distribution
    vars(predictor)["distribution"] = lambda *arguments, **others: change(distribution(*arguments, **others))
    return verify(model, model, predictor, BuildOptions(verify_observations=50))


@pytest.mark.parametrize("name", CASES)
def test_what_is_drawn_from_is_compared(name):
    assert verified(name).observations >= 50
    with pytest.raises(VerificationError, match=r"distribution: \w+ has the shape"):
        verified(name, lambda found: {})
    for key in ("mean",) if name in ("gaussian", "state_dependent") else ("probabilities",):
        with pytest.raises(VerificationError, match=rf"distribution: {key}: found .*\n  observation \("):
            verified(name, lambda found, key=key: {**found, key: found[key] + 0.05})


@pytest.mark.parametrize("name", ["gaussian", "state_dependent"])
def test_deviations_are_compared(name):
    with pytest.raises(VerificationError, match="distribution: std: found"):
        verified(name, lambda found: {**found, "std": found["std"] * 1.01})


def test_deviations_whose_squares_overflow_are_not_compared():
    unbounded = policies.observing(policies.WIDE, policies.NARROW, "relu")
    model = with_sampling(unbounded, "state_dependent", noise_std=NOISE)

    class Narrow(StateDependent):
        def distribution(self, observation):
            found = super().distribution(observation)
            with np.errstate(over="ignore"):
                return {**found, "std": np.sqrt(found["std"].astype(np.float32) ** 2)}

    assert verify(model, model, Narrow(model), BuildOptions(verify_observations=50)).observations >= 50


def test_masks_count_in_probabilities():
    model, _ = CASES["masked"]

    class Forgets(Categorical):
        def distribution(self, observation, action_masks=None):
            return super().distribution(observation)

    with pytest.raises(VerificationError, match="distribution: probabilities: found"):
        verify(model, model, Forgets(model), BuildOptions(verify_observations=50))
