"""
The example of the README, as it runs: `nox -s build-model` prints this after compiling `model/cartpole.zip`.
"""

import numpy as np

from generated.cartpole import act, predict

observation = np.array([0.03, -0.2, 0.04, 0.3], dtype=np.float32)  # cart position, velocity; pole angle, velocity

print(act(observation))  # one observation, the shortest way: a Python int
print(predict(observation))  # what PPO.predict returns: the action and the recurrent state, which PPO lacks
print(predict(np.stack([observation, -observation])))  # a batch
