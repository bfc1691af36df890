"""
PyTorch models that are no policies, beside all that else runs them.
"""

import copy
import io
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import compiler
from benchmarks.contest import QUICK, WALL, Contestant, Effort
from benchmarks.kernel import CHAINS, STEPS, multiply_adds
from benchmarks.peers import checked, entered, session
from benchmarks.report import Table, measured
from benchmarks.subjects import Bench, cores
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
    kept = list(module.buffers()) if program.step else []
    fresh = partial(copy.deepcopy, module)  # of a module that keeps a state, everybody has one of their own
    steps, firsts = (program.step(module), [batches[0], *kept]) if program.step else (module, [batches[0]])
    with torch.inference_mode():
        stepped = fresh()
        expected = [stepped(batch).numpy() for batch in batches]
    options: dict[str, Any] = {"dynamic": not program.fixed, "example_inputs": (batches[0],), "threads": count}
    own = {"cpu": "native", "target": program.target} if program.target == "native" else {}
    build = compiler.build(module, out=bench.folder / f"programs-{count}", name=key, **options, **own)
    package = build.load()
    peers: dict[str, Callable[[], Contestant]] = {
        "torch eager": lambda: _torch("torch eager", fresh(), batches),
        "TorchScript frozen": lambda: _torch("TorchScript frozen", _scripted(fresh(), batches[0], kept), batches),
        "torch.compile, freezing": lambda: _torch("torch.compile, freezing", _compiled(fresh()), batches),
        "ONNX Runtime": lambda: _onnxruntime(_onnx(steps, firsts), batches, kept, count),
        "OpenVINO": lambda: _openvino(_onnx(steps, firsts), batches, kept, count),
    }
    predict = package.Episode().predict if kept else package.predict
    ours = checked(Contestant("policyc predict", predict, [tensor.numpy() for tensor in tensors]), expected)
    entrants = [ours, *(entered(name, prepare, expected) for name, prepare in peers.items())]
    what = f"{program.together} observations" if program.together > 1 else "one observation"
    title = f"{program.title}, {what}, {'one thread' if count == 1 else f'{count} threads'}"
    if count > 1:
        return measured(f"program-{key}-{count}", title, entrants, effort, program.two_threads, WALL)
    table = measured(f"program-{key}", title, entrants, effort, program.reach)
    # Multiply-adds without a pause make a processor slow down, and with it whoever has the next turn.
    words = (
        package if program.target == "numba" else compiler.build(module, out=bench.folder, name=key, **options).load()
    )
    most = _limit(build.model, words, program.together if not program.fixed else 1)
    limit = measured(table.name, table.title, [ours, most], effort).rows[-1]
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


def _scripted(module: Any, example: Any, kept: list[Any]) -> Any:
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecated, but here
        if kept:  # what is traced has made a step
            return torch.jit.freeze(torch.jit.script(module))
        return torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(module, example)))


def _compiled(module: Any) -> Any:
    import torch
    from torch._inductor import config

    config.freezing = True
    return torch.compile(module)


def _onnx(module: Any, examples: list[Any]) -> bytes:
    """
    The module as a file.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(module, tuple(examples), dynamo=True, verbose=False)
    file = io.BytesIO()
    program.save(file)
    return file.getvalue()


def _onnxruntime(file: bytes, batches: list[Any], kept: list[Any], count: int) -> Contestant:
    run, (name, *others) = session(file, count), _inputs(file)
    state = {other: tensor.numpy() for other, tensor in zip(others, kept, strict=True)}

    def step(feed: dict[str, Any]) -> NDArray[Any]:
        answer: NDArray[Any]
        answer, *after = run(None, feed | state)
        state.update(zip(others, after, strict=True))
        return answer

    call = step if state else lambda feed: run(None, feed)[0]
    return Contestant("ONNX Runtime", call, [{name: batch.numpy()} for batch in batches])


def _openvino(file: bytes, batches: list[Any], kept: list[Any], count: int) -> Contestant:
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": count, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(file), "CPU", settings).create_infer_request()
    state = [tensor.numpy() for tensor in kept]

    def call(batch: NDArray[Any]) -> NDArray[Any]:
        found = request.infer([batch, *state], share_inputs=True, share_outputs=True)
        state[:] = [np.array(found[1 + number]) for number in range(len(state))]
        return np.array(found[0])

    return Contestant("OpenVINO", call, [batch.numpy() for batch in batches])


def _inputs(file: bytes) -> list[str]:
    import onnx

    return [str(given.name) for given in onnx.load_from_string(file).graph.input]
