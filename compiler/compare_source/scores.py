"""
What SB3's policies choose their actions from, as far as they can show it.
"""

from typing import Any

import numpy as np

from compiler.compare_source.agent import Agent
from compiler.ops import Array
from compiler.verify.asking import Question


def scores_of(agent: Agent, question: Question) -> Array | None:
    """
    The values before the argmax, or the means before they are clipped or squashed: (n, k); None if there are none.

    The logits of choices are normalised, choice by choice; masks do not count.
    """
    import torch

    policy = agent.model.policy
    policy.set_training_mode(False)
    with torch.no_grad():
        tensor, _ = policy.obs_to_tensor(agent.prepared(question.observation))
        found = _scores(policy, tensor, question)
    return None if found is None else np.asarray(found.numpy())


def values_of(agent: Agent, question: Question) -> Array | None:
    """
    The critic's estimates, (n, 1), of policies that have one and no states; None otherwise.
    """
    import torch

    policy = agent.model.policy
    if not hasattr(policy, "predict_values") or question.memory:
        return None
    policy.set_training_mode(False)
    with torch.no_grad():
        tensor, _ = policy.obs_to_tensor(agent.prepared(question.observation))
        return np.asarray(policy.predict_values(tensor).numpy())


def _scores(policy: Any, tensor: Any, question: Question) -> Any:
    if hasattr(policy, "quantile_net"):
        return policy.quantile_net(tensor).mean(dim=1)
    if hasattr(policy, "q_net"):
        return policy.q_net(tensor)
    if hasattr(policy, "get_distribution"):
        return _of_distribution(_distribution(policy, tensor, question))
    actor: Any = getattr(policy, "actor", None)
    if hasattr(actor, "get_action_dist_params"):
        return actor.get_action_dist_params(tensor)[0]
    if actor is not None:
        return actor.mu[:-1](actor.extract_features(tensor, actor.features_extractor))
    layers = [layer for layer in policy.action_net if not (layer is policy.action_net[-1] and policy.squash_output)]
    result = policy.extract_features(tensor, policy.features_extractor)
    for layer in layers:
        result = layer(result)
    return result


def _distribution(policy: Any, tensor: Any, question: Question) -> Any:
    import torch

    if not question.memory:
        return policy.get_distribution(tensor)
    state = tuple(torch.tensor(part) for part in question.memory["state"])
    starts = torch.tensor(question.memory["episode_start"], dtype=torch.float32)
    return policy.get_distribution(tensor, state, starts)[0]


def _of_distribution(distribution: Any) -> Any:
    import torch

    inner = getattr(distribution, "distributions", None) or distribution.distribution
    if isinstance(inner, list):
        return torch.cat([part.logits for part in inner], dim=1)
    return inner.logits if hasattr(inner, "logits") else inner.mean
