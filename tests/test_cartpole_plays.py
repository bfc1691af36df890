"""
The generated predictor plays CartPole-v1, and every one of its actions is the one that SB3's own model takes.
"""

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import PPO

from tests.generated_code.compile_check import ROOT

EPISODES = 20
LEAST_RETURN = 475.0


@pytest.mark.slow
def test_the_predictor_plays_as_its_source_does():
    from generated.cartpole import act, predict

    source = PPO.load(ROOT / "model" / "cartpole.zip", device="cpu")
    env = gymnasium.make("CartPole-v1")
    returns = []
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=episode)
        total, done = 0.0, False
        while not done:
            expected, state = source.predict(observation, deterministic=True)
            action, own_state = predict(observation)
            assert action == expected, f"episode {episode}, step {total:.0f}: {observation}"
            assert (action.shape, action.dtype) == (expected.shape, expected.dtype)
            assert own_state is state is None
            shortest = act(observation)
            assert type(shortest) is int
            assert shortest == expected
            observation, reward, terminated, truncated, _ = env.step(shortest)
            total += float(reward)
            done = terminated or truncated
        returns.append(total)
    env.close()
    assert np.mean(returns) >= LEAST_RETURN, returns
