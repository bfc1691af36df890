"""
cartpole: a predictor.

policyc compiled it from cartpole.zip.

    predict(observation) -> (action, state)    as Stable-Baselines3's model.predict, for one observation or a batch
    act(observation) -> int                    the shortest way for one observation
    predict_into(observations, out)            the actions for a batch, written to a buffer
    scores(observation)                        what the action is chosen from: logits
    distribution(observation)                  what predict(..., deterministic=False) draws from
    action_probabilities(observation)          how likely each choice is
    SPEC                                       what goes in, what comes out, where it comes from
"""

from .predictor import SPEC, act, action_probabilities, distribution, layers, predict, predict_into, scores

__all__ = ["SPEC", "act", "action_probabilities", "distribution", "layers", "predict", "predict_into", "scores"]
