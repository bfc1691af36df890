"""
Verification of every kind of observation and action, of masks and of recurrent states: right predictors pass, and each
thing that a predictor can get wrong is found.
"""

import numpy as np
import pytest

from compiler.errors import VerificationError
from compiler.ir import Discrete, MultiBinary, MultiDiscrete
from compiler.options import BuildOptions
from compiler.verify import verify
from tests import policies
from tests.numpy_predictor import Episode, NumpyPredictor

OPTIONS = BuildOptions(verify_observations=80)
POLICIES = {
    "image": lambda: policies.observing(policies.IMAGE),
    "discrete": lambda: policies.observing(Discrete(7)),
    "multi_discrete": lambda: policies.observing(MultiDiscrete((3, 2, 70))),
    "multi_binary": lambda: policies.observing(MultiBinary((2, 3))),
    "dict": lambda: policies.observing(policies.PARTS),
    "choosing several": lambda: policies.observing(policies.WIDE, MultiDiscrete((3, 2, 4))),
    "choosing bits": lambda: policies.observing(policies.WIDE, MultiBinary((5,))),
    "masked": policies.masked,
    "masked discrete": lambda: policies.masked(Discrete(6)),
    "masked bits": lambda: policies.masked(MultiBinary((4,))),
    "recurrent": policies.recurrent,
    "recurrent discrete": lambda: policies.recurrent(1, lambda: Discrete(3)),
}


def verified(model, kind=NumpyPredictor, nonfinite="raise"):
    options = BuildOptions(verify_observations=OPTIONS.verify_observations, nonfinite=nonfinite)
    return verify(model, model, kind(model, refuse=nonfinite == "raise"), options)


@pytest.mark.parametrize("nonfinite", ["raise", "propagate"])
@pytest.mark.parametrize("name", POLICIES)
def test_a_right_predictor_passes(name, nonfinite):
    model = POLICIES[name]()
    found = verified(model, nonfinite=nonfinite)
    assert found.observations >= 80
    assert 0 < found.score_error < 1e-6
    choices = {"discrete": 3, "multi_discrete": 6, "dict": 9}.get(name, 0)
    floats = 0 if name in ("image", "discrete", "multi_discrete", "multi_binary") else 15
    assert found.refused == choices + (floats + len(model.states) if nonfinite == "raise" else 0)


class ForgetsMasks(NumpyPredictor):
    def compute(self, observation, state, episode_start, masks):
        return super().compute(observation, state, episode_start, None)


class ForgetsStarts(NumpyPredictor):
    def compute(self, observation, state, episode_start, masks):
        return super().compute(observation, state, None, masks)


class ForgetsStates(NumpyPredictor):
    def compute(self, observation, state, episode_start, masks):
        return super().compute(observation, state and tuple(part * 0 for part in state), episode_start, masks)


class KeepsStates(NumpyPredictor):
    def predict(self, observation, state=None, episode_start=None, deterministic=True, *, action_masks=None):
        action, after = super().predict(observation, state, episode_start, action_masks=action_masks)
        return action, (after[0], after[0])


class AnswersFloat64States(NumpyPredictor):
    def next_state(self, values):
        return tuple(part.astype(np.float64) for part in super().next_state(values))


class AnswersListsOfStates(NumpyPredictor):
    def next_state(self, values):
        return list(super().next_state(values))


class SharesEpisodes(NumpyPredictor):
    def Episode(self):  # noqa: N802
        return vars(self).setdefault("only", Episode(self))


class NeverResets(NumpyPredictor):
    def Episode(self):  # noqa: N802
        episode = super().Episode()
        vars(episode)["reset"] = lambda: None
        return episode


class LacksEpisodes(NumpyPredictor):
    def Episode(self):  # noqa: N802
        raise AttributeError("Episode")


class LosesValue(NumpyPredictor):
    def value(self, observation, state=None, episode_start=None):
        return super().value(observation) * 1.01


class TakesAnyChoice(NumpyPredictor):
    def check(self, space, array):
        if not isinstance(space, Discrete | MultiDiscrete):
            super().check(space, array)


class TakesAnyState(NumpyPredictor):
    def compute(self, observation, state, episode_start, masks):
        state = state and tuple(np.nan_to_num(part) for part in state)
        return super().compute(observation, state, episode_start, masks)


class TakesNanInOnePart(NumpyPredictor):
    def check(self, space, array):
        super().check(space, np.nan_to_num(array) if array.shape[-1:] == (4,) else array)


class MixesParts(NumpyPredictor):
    def evaluate(self, inputs):
        swapped = dict(inputs)
        swapped["observation.dials"] = np.minimum(inputs["observation.dials"][:, ::-1], 2)
        return super().evaluate(swapped)


class FlipsImages(NumpyPredictor):
    def evaluate(self, inputs):
        return super().evaluate({name: array[..., ::-1] for name, array in inputs.items()})


class ChoosesTheFirst(NumpyPredictor):
    def predict(self, *arguments, **others):
        action, state = super().predict(*arguments, **others)
        action = action.copy()
        action[..., -1] = 0
        return action, state


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("masked", ForgetsMasks, r"(?s)action: found .* action_masks \["),
        ("masked discrete", ForgetsMasks, "action: found"),
        ("masked bits", ForgetsMasks, "action: found"),
        ("recurrent", ForgetsStarts, "found"),
        ("recurrent", ForgetsStates, r"(?s)found .* state \(\["),
        ("recurrent", KeepsStates, r"c\.0: found"),
        ("recurrent", AnswersFloat64States, r"the state returned float64\(2, 1, 6\), expected float32\(2, 1, 6\)"),
        ("recurrent", AnswersListsOfStates, r"returned the state list, expected a tuple \(h, c\)"),
        ("recurrent", SharesEpisodes, r"an episode played by Episode: step \d+ of 20 gave"),
        ("recurrent", NeverResets, "an episode played by Episode: step 10 of 20 gave"),
        ("recurrent", LacksEpisodes, "an episode played by Episode: the predictor raised AttributeError"),
        ("recurrent", TakesAnyState, r"an observation with h\.0: NaN in one element, but returned"),
        ("dict", LosesValue, "value: found"),
        ("dict", TakesAnyChoice, r"an observation with observation\.gear: the choice -1, but"),
        ("dict", TakesNanInOnePart, r"an observation with observation\.speed: NaN in one element, but returned"),
        ("dict", MixesParts, "scores: found"),
        ("discrete", TakesAnyChoice, "an observation with the choice -1, but"),
        ("multi_discrete", TakesAnyChoice, "an observation with the choice -1 at"),
        ("image", FlipsImages, "scores: found"),
        ("choosing several", ChoosesTheFirst, "action: found"),
        ("choosing bits", ChoosesTheFirst, "action: found"),
    ],
)
def test_what_is_wrong_is_found(name, kind, message):
    with pytest.raises(VerificationError, match=message):
        verified(POLICIES[name](), kind)


def test_choices_outside_the_space_are_refused_where_nan_is_not():
    with pytest.raises(VerificationError, match="the choice -1"):
        verified(POLICIES["discrete"](), TakesAnyChoice, "propagate")


def test_the_first_wrong_layer_is_found_behind_masks_and_states():
    class Wrong(NumpyPredictor):
        layer = ""

        def evaluate(self, inputs):
            values = super().evaluate(inputs)
            values[self.layer] = values[self.layer] + 1
            chosen = self.tensor("scores")
            values[chosen] = values[chosen] + np.arange(values[chosen].shape[1])
            return values

    for model, layer, op in ((policies.masked(), "pi.tanh", "tanh"), (policies.recurrent(), "gates 1", "add")):
        Wrong.layer = layer
        with pytest.raises(VerificationError, match=rf"first layer that differs: '{layer}' \({op}\)"):
            verified(model, Wrong)


def weights(model, name):
    """
    The values of a constant, to be changed in place.
    """
    data = model.tensors[name].data
    assert data is not None
    return data


def test_near_ties_may_go_either_way_choice_by_choice():
    class OtherWay(NumpyPredictor):
        """
        Where two choices of a part are equally good, takes the last.
        """

        def evaluate(self, inputs):
            values = super().evaluate(inputs)
            scores = values[self.tensor("scores")]
            parts = [scores[:, first : first + 3][:, ::-1] for first in (0, 3)]
            values[self.tensor("action")] = np.stack([2 - part.argmax(axis=1) for part in parts], axis=1)
            return values

    model = policies.observing(policies.WIDE, MultiDiscrete((3, 3)))
    for name in ("action_net.weight", "action_net.bias"):
        data = weights(model, name)
        data[5] = data[4]
    found = verified(model, OtherWay)
    assert 0 < found.near_ties < found.observations
    data = weights(model, "action_net.bias")
    data[5] = data[4] - np.float32(1e-3)

    class Wrong(OtherWay):
        def evaluate(self, inputs):
            values = super().evaluate(inputs)
            action = values[self.tensor("action")]
            action[:, 1] = np.where(action[:, 1] == 1, 2, action[:, 1])
            return values

    with pytest.raises(VerificationError, match="action: found"):
        verified(model, Wrong)
