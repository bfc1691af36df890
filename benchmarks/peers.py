"""
What else can run the network of a policy. A peer that is not installed is `Missing`, one that disagrees says so.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contest import Contestant, Missing
from benchmarks.exports import onnx_model, recurrent_onnx_model, torch_module
from benchmarks.network import Network, Recurrent

ONNX_RUNTIME = "ONNX Runtime"
AGREEMENT = 1e-3
"""How far apart actions may be before a row says that its contestant computes something else."""


@dataclass(frozen=True)
class Work:
    """
    What a peer is asked to do.
    """

    network: Network
    batches: tuple[NDArray[np.float32], ...]
    """Batches for the bare network, one per call; batches of 1 stand for single observations."""
    observations: tuple[NDArray[Any], ...]
    """The same as an environment gives them: pixels are bytes."""
    threads: int = 1

    @property
    def single(self) -> bool:
        """
        Whether every call is about one observation.
        """
        return all(len(batch) == 1 for batch in self.batches)

    @property
    def rows(self) -> list[NDArray[Any]]:
        """
        What predictors get: a single observation has no batch dimension.
        """
        return [batch[0] if self.single else batch for batch in self.observations]

    @cached_property
    def onnx(self) -> bytes:
        """
        The network as a file.

        Raises:
            ImportError: onnx is missing.
        """
        return onnx_model(self.network, self.batches[0].shape[1:])

    @cached_property
    def expected(self) -> list[NDArray[Any]]:
        """
        The actions, by plain NumPy.
        """
        return [self.network.run(batch) for batch in self.batches]


Peer = Callable[[Work], Contestant]


def enter(work: Work, peers: dict[str, Peer]) -> list[Contestant | Missing]:
    """
    The peers ready to run, each compared with plain NumPy first; or why they can't run.
    """
    return [entered(name, partial(peer, work), work.expected) for name, peer in peers.items()]


def entered(name: str, prepare: Callable[[], Contestant], expected: Sequence[NDArray[Any]]) -> Contestant | Missing:
    """
    One peer ready to run, compared with the expected actions first; or why it can't run.
    """
    try:
        contestant = prepare()
    except ImportError as error:
        return Missing(name, f"not installed: {error.name or error}")
    except Exception as error:  # a peer of another version must not take the whole table with it
        return Missing(name, f"failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    return checked(contestant, expected)


def checked(contestant: Contestant, expected: Sequence[NDArray[Any]]) -> Contestant:
    """
    The contestant, with a note if it gives other actions than those, which have a row for each observation of a call.
    """
    different = 0
    for value, actions in zip(contestant.inputs, expected, strict=True):
        found = np.asarray(contestant.call(value)).reshape(actions.shape)
        wrong = ~np.isclose(found, actions, rtol=0, atol=AGREEMENT)
        different += int(wrong.reshape(len(actions), -1).any(axis=1).sum())
    if not different:
        return contestant
    total = sum(map(len, expected))
    return replace(contestant, note=f"DISAGREES on {different} of {total} observations {contestant.note}".strip())


def sb3(name: str, load: Callable[[], Any]) -> Peer:
    """
    Stable-Baselines3's own `predict`.
    """

    def peer(work: Work) -> Contestant:
        import torch

        torch.set_num_threads(work.threads)
        model = load()
        return Contestant(name, lambda row: model.predict(row, deterministic=True)[0], work.rows)

    return peer


def onnxruntime(work: Work) -> Contestant:
    """
    ONNX Runtime on the bare network.
    """
    run = session(work.onnx, work.threads)
    feeds = [{"x": batch} for batch in work.batches]
    if work.single and work.network.low is None:
        return Contestant(ONNX_RUNTIME, lambda feed: int(run(None, feed)[0][0]), feeds)
    return Contestant(ONNX_RUNTIME, lambda feed: run(None, feed)[0], feeds)


def masked_onnxruntime(network: Network, questions: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]]) -> Contestant:
    """
    ONNX Runtime on the bare network of a policy that takes masks.

    Args:
        network: what to compute.
        questions: single observations, each with its mask.
    """
    run = session(onnx_model(network, questions[0][0].shape), 1)
    feeds = [{"x": observation[np.newaxis], "mask": mask[np.newaxis]} for observation, mask in questions]
    return Contestant(ONNX_RUNTIME, lambda feed: int(run(None, feed)[0][0]), feeds)


def recurrent_onnxruntime(recurrent: Recurrent, observations: Sequence[NDArray[Any]]) -> Contestant:
    """
    ONNX Runtime on an LSTM and the network after it, the states of each call fed to the next.

    Args:
        recurrent: what to compute.
        observations: single ones, in the order of an episode.
    """
    run = session(recurrent_onnx_model(recurrent), 1)
    hidden = cell = np.zeros((1, 1, recurrent.units), np.float32)

    def call(observation: NDArray[np.float32]) -> Any:
        nonlocal hidden, cell
        action, hidden, cell = run(None, {"x": observation, "h": hidden, "c": cell})
        return action

    return Contestant(ONNX_RUNTIME, call, [observation[np.newaxis, np.newaxis] for observation in observations])


def session(file: bytes, threads: int) -> Callable[..., Any]:
    """
    What runs an ONNX file.
    """
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    run: Callable[..., Any] = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"]).run
    return run


def openvino(work: Work) -> Contestant:
    """
    OpenVINO on the bare network, in float32, its inputs and outputs shared rather than copied.
    """
    import openvino

    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": work.threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = core.read_model(work.onnx)
    model.reshape({"x": list(work.batches[0].shape)})
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return Contestant(
        "OpenVINO",
        lambda batch: request.infer([batch], share_inputs=True, share_outputs=True)[0],
        work.batches,
    )


def torch_eager(work: Work) -> Contestant:
    """
    PyTorch on the bare network, without gradients.
    """
    import torch

    torch.set_num_threads(work.threads)
    return _torch("torch eager", torch_module(work.network), work)


def torch_script(work: Work) -> Contestant:
    """
    TorchScript: traced, frozen, optimised for inference.
    """
    import torch

    torch.set_num_threads(work.threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, but here
        traced = torch.jit.trace(torch_module(work.network), torch.from_numpy(work.batches[0]))
        module = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
    return _torch("TorchScript frozen", module, work)


def _torch(name: str, module: Any, work: Work) -> Contestant:
    import torch

    tensors: Sequence[Any] = [torch.from_numpy(batch) for batch in work.batches]
    inference = torch.inference_mode

    def call(batch: Any) -> Any:
        with inference():
            return module(batch).numpy()

    def call_one(batch: Any) -> int:
        with inference():
            return int(module(batch))

    return Contestant(name, call_one if work.single and work.network.low is None else call, tensors)


def numpy(work: Work) -> Contestant:
    """
    Plain NumPy: a matrix product for each layer.
    """
    return Contestant("NumPy", work.network.run, work.batches)
