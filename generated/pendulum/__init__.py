"""
pendulum: a predictor.

policyc compiled it from pendulum.zip.

    predict(observation) -> (action, state)    as Stable-Baselines3's model.predict, for one observation or a batch
    act(observation) -> array                  the shortest way for one observation
    predict_into(observations, out)            the actions for a batch, written to a buffer
    scores(observation)                        what the action is chosen from: mean_actions
    distribution(observation)                  what predict(..., deterministic=False) draws from
    SPEC                                       what goes in, what comes out, where it comes from
"""

from .predictor import SPEC, act, distribution, layers, predict, predict_into, scores

__all__ = ["SPEC", "act", "distribution", "layers", "predict", "predict_into", "scores"]
