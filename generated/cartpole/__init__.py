"""
cartpole: a predictor.

policyc compiled it from cartpole.zip.

    predict(observation) -> (action, state)    as Stable-Baselines3's model.predict, for one observation or a batch
    act(observation) -> int                        the shortest way for one observation
    scores(observation)                        what the action is chosen from: logits
    SPEC                                       what goes in, what comes out, where it comes from
"""

from .predictor import SPEC, act, layers, predict, scores

__all__ = ["SPEC", "act", "layers", "predict", "scores"]
