"""
FastAPI, as its tutorial writes an application: a pydantic model in, a dict out. uvicorn calls one of the factories.

The endpoint is `async def`: computing takes less time than handing it to FastAPI's threads would.
"""

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel

from benchmarks.http.peers import policies


class Question(BaseModel):  # type: ignore[misc]
    """
    The body of a request: one of the two.
    """

    observation: list[float] | None = None
    observations: list[list[float]] | None = None


def with_stable_baselines3() -> FastAPI:
    """
    Computes by `PPO.predict`.
    """
    return _application(policies.stable_baselines3())


def with_torch_network() -> FastAPI:
    """
    Computes by the bare network in torch.
    """
    return _application(policies.torch_network())


def with_onnxruntime() -> FastAPI:
    """
    Computes by ONNX Runtime.
    """
    return _application(policies.onnxruntime())


def _application(predict: policies.Predict) -> FastAPI:
    async def answer(question: Question) -> dict[str, int | list[int]]:
        if question.observation is not None:
            return {"action": int(predict(np.array([question.observation], np.float32))[0])}
        if question.observations is not None:
            return {"actions": predict(np.array(question.observations, np.float32)).tolist()}
        raise HTTPException(422, "observation or observations is missing")

    async def answer_bytes(request: Request) -> Response:
        actions = predict(policies.of_bytes(await request.body()))
        return Response(actions.astype("<i8").tobytes(), media_type="application/octet-stream")

    async def ready() -> dict[str, bool]:
        return {"ready": True}

    application = FastAPI()
    application.add_api_route("/predict", answer, methods=["POST"])
    application.add_api_route("/predict-bytes", answer_bytes, methods=["POST"])
    application.add_api_route("/v2/health/ready", ready)
    return application
