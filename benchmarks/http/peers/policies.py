"""
What the peers compute with: the same CartPole agent, by Stable-Baselines3 or by ONNX Runtime.

A server gets the folder that `benchmarks.http` prepared in the environment variable `POLICY_FOLDER`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = "POLICY_FOLDER"
CHECKPOINT = "cartpole.zip"
NETWORK = "cartpole.onnx"
SIZE = 4

Predict = Callable[[NDArray[np.float32]], NDArray[np.int64]]
"""Actions (n,) for observations (n, 4)."""


def stable_baselines3() -> Predict:
    """
    `PPO.predict`, as most people serve a policy. torch has one thread: more make so small a network slower.
    """
    import torch
    from stable_baselines3 import PPO

    torch.set_num_threads(1)
    model = PPO.load(Path(os.environ[FOLDER]) / CHECKPOINT, device="cpu")
    return lambda observations: np.asarray(model.predict(observations, deterministic=True)[0])


def torch_network() -> Predict:
    """
    The bare network in torch, an argmax at its end: without what `PPO.predict` does around it.
    """
    import torch
    from stable_baselines3 import PPO

    torch.set_num_threads(1)
    policy = PPO.load(Path(os.environ[FOLDER]) / CHECKPOINT, device="cpu").policy.eval()

    def predict(observations: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.inference_mode():
            scores = policy.action_net(policy.mlp_extractor.forward_actor(torch.from_numpy(observations)))
            return np.asarray(scores.argmax(dim=1))

    return predict


def onnxruntime() -> Predict:
    """
    The bare network in ONNX Runtime, an argmax at its end, one thread.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    file = str(Path(os.environ[FOLDER]) / NETWORK)
    run: Callable[..., Any] = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]).run
    return lambda observations: np.asarray(run(None, {"x": observations})[0])


def of_bytes(body: bytes) -> NDArray[np.float32]:
    """
    Observations (n, 4) from float32 little endian; a copy, since torch wants arrays that it may write to.
    """
    return np.frombuffer(body, "<f4").astype(np.float32).reshape(-1, SIZE)
