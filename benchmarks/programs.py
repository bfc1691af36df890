"""
PyTorch models that are no policies, beside all that else runs them.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import compiler
from benchmarks.contest import QUICK, WALL, Contestant, Effort
from benchmarks.kernel import CHAINS, STEPS, multiply_adds
from benchmarks.peers import checked, entered, session
from benchmarks.report import Table, measured
from benchmarks.subjects import Bench, cores, threads
from compiler.ir import Model
from compiler.ops import OPS

OBSERVATIONS = 4


def programs(bench: Bench, effort: Effort) -> list[Table]:
    """
    A table for each model, and one with two threads where these have enough to do; a quick run leaves out large ones.
    """
    from benchmarks.modules import PROGRAMS

    chosen = {key: program for key, program in PROGRAMS.items() if not (program.large and effort == QUICK)}
    several = (1, 2) if cores() > 1 else (1,)
    return [
        _table(bench, effort, key, program, count)
        for key, program in chosen.items()
        for count in (several if program.two_threads else (1,))
    ]


def _table(bench: Bench, effort: Effort, key: str, program: Any, count: int) -> Table:
    """
    A model's table, everybody having so many threads.
    """
    import torch

    from benchmarks.modules import made, observations

    torch.set_num_threads(count)
    torch.compiler.reset()  # which would keep the number of threads
    module, tensors = made(program), observations(program, OBSERVATIONS)
    batches = [tensor if program.together else tensor[None] for tensor in tensors]
    with torch.inference_mode():
        expected = [module(batch).numpy() for batch in batches]
    build = compiler.build(
        module,
        example_inputs=(batches[0],),
        dynamic=not program.fixed,
        out=bench.folder / f"programs-{count}",
        name=key,
        threads=count,
    )
    package = build.load()
    peers: dict[str, Callable[[], Contestant]] = {
        "torch eager": lambda: _torch("torch eager", module, batches),
        "TorchScript frozen": lambda: _torch("TorchScript frozen", _scripted(module, batches[0]), batches),
        "torch.compile, freezing": lambda: _torch("torch.compile, freezing", _compiled(module), batches),
        "ONNX Runtime": lambda: _onnxruntime(_onnx(module, batches[0]), batches, count),
        "OpenVINO": lambda: _openvino(_onnx(module, batches[0]), batches, count),
    }
    ours = checked(Contestant("policyc predict", package.predict, [tensor.numpy() for tensor in tensors]), expected)
    entrants = [ours, *(entered(name, prepare, expected) for name, prepare in peers.items())]
    what = f"{program.together} observations" if program.together else "one observation"
    title = f"{program.title}, {what}, {'one thread' if count == 1 else f'{count} threads'}"
    with threads(count):
        if count > 1:
            return measured(f"program-{key}-{count}", title, entrants, effort, program.two_threads, WALL)
        table = measured(f"program-{key}", title, entrants, effort, program.reach)
        # Multiply-adds without a pause make a processor slow down, and with it whoever has the next turn.
        limit = measured(
            table.name,
            table.title,
            [ours, _limit(build.model, package, program.together if not program.fixed else 1)],
            effort,
        ).rows[-1]
    return replace(table, rows=(*table.rows, limit))


def _limit(model: Model, package: ModuleType, observations: int) -> Contestant:
    """
    The multiply-adds of a model, which registers alone take: its ratio is the part of the peak that is reached.
    """
    needed = max(observations, 1) * sum(
        OPS[node.op].multiply_adds([model.tensors[name] for name in node.inputs], node.attributes)
        for node in model.nodes
    )
    work = CHAINS * STEPS * package.simd.LANES / needed
    note = "at the measured peak: registers alone"
    return Contestant(f"its {needed:,} multiply-adds", multiply_adds(package.simd), [np.float32(0.5)], note, work)


def _torch(name: str, module: Any, batches: list[Any]) -> Contestant:
    import torch

    inference = torch.inference_mode

    def call(batch: Any) -> NDArray[Any]:
        with inference():
            found: NDArray[Any] = module(batch).numpy()
            return found

    return Contestant(name, call, batches)


def _scripted(module: Any, example: Any) -> Any:
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecated, but here
        traced = torch.jit.trace(module, example)
        return torch.jit.optimize_for_inference(torch.jit.freeze(traced))


def _compiled(module: Any) -> Any:
    import torch
    from torch._inductor import config

    config.freezing = True
    return torch.compile(module)


def _onnx(module: Any, example: Any) -> bytes:
    """
    The module as a file.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(module, (example,), dynamo=True, verbose=False)
    file = io.BytesIO()
    program.save(file)
    return file.getvalue()


def _onnxruntime(file: bytes, batches: list[Any], count: int) -> Contestant:
    run, name = session(file, count), _input(file)
    return Contestant("ONNX Runtime", lambda feed: run(None, feed)[0], [{name: batch.numpy()} for batch in batches])


def _openvino(file: bytes, batches: list[Any], count: int) -> Contestant:
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": count, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(file), "CPU", settings).create_infer_request()
    return Contestant(
        "OpenVINO",
        lambda batch: np.array(request.infer([batch], share_inputs=True, share_outputs=True)[0]),
        [batch.numpy() for batch in batches],
    )


def _input(file: bytes) -> str:
    import onnx

    return str(onnx.load_from_string(file).graph.input[0].name)
