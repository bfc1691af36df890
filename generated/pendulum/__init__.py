"""
pendulum: a predictor.

policyc compiled it from pendulum.zip.

    predict(observation) -> (action, state)    as Stable-Baselines3's model.predict, for one observation or a batch
    act(observation) -> array                      the shortest way for one observation
    scores(observation)                        what the action is chosen from: mean_actions
    SPEC                                       what goes in, what comes out, where it comes from
"""

from .predictor import SPEC, act, layers, predict, scores

__all__ = ["SPEC", "act", "layers", "predict", "scores"]
