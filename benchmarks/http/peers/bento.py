"""
A BentoML service that computes by ONNX Runtime. `bentoml serve` imports it; its environment needs no torch.
"""

import bentoml
import numpy as np

from benchmarks.http.peers import policies


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Policy:
    """
    One worker.
    """

    def __init__(self) -> None:
        self.run = policies.onnxruntime()

    @bentoml.api  # type: ignore[untyped-decorator]
    async def predict(
        self, observation: list[float] | None = None, observations: list[list[float]] | None = None
    ) -> dict[str, int | list[int]]:
        """
        The action for an observation, or actions for several.
        """
        if observation is not None:
            return {"action": int(self.run(np.array([observation], np.float32))[0])}
        return {"actions": self.run(np.array(observations, np.float32)).tolist()}
