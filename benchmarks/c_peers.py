"""
What else can run a network from C: each prepared as `c_code.Answers`.
"""

import ctypes
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.c_code import PLAIN, SOURCES, Answers, blank, compiled, function
from benchmarks.exports import onnx_model
from benchmarks.network import Layer, Network
from benchmarks.plain_c import plain_c

FLOAT, INT64 = 1, 7
"""ONNX's numbers for types of elements."""


@dataclass(frozen=True)
class Task:
    """
    What a peer in C is asked to do.
    """

    network: Network
    observations: NDArray[np.float32]
    """(count, ...): single ones, as the network takes them."""
    expected: Sequence[NDArray[Any]]
    """The actions, (1, ...) each."""
    folder: Path
    """For what is generated and compiled."""

    @property
    def action(self) -> NDArray[Any]:
        """
        Room for an action.
        """
        return blank(self.expected[0][0] if self.network.low is not None else np.zeros(1, np.int64))


def plain(task: Task, *flags: str) -> Answers:
    """
    Generated plain C, by gcc.
    """
    name = "_".join(["plain", *flags]).replace("-", "")
    source = task.folder / f"{name}.c"
    source.write_text(plain_c(task.network), "utf-8")
    library = compiled(task.folder, name, source, *PLAIN, *flags, linked=["-lm"])
    return _answers(task, library, "gcc " + " ".join((*PLAIN, *flags)))


def emlearn(task: Task, *flags: str) -> Answers:
    """
    What emlearn makes of the network, by gcc: its converter, its header, its inference function.
    """
    with warnings.catch_warnings(), np.errstate():  # it makes NumPy raise FloatingPointError everywhere
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports distutils
        net, common = import_module("emlearn.net"), import_module("emlearn.common")

    layers = _connected(task.network)
    activations = [layer.activation or "identity" for layer in layers]
    weights, biases = [layer.weight.T for layer in layers], [layer.bias for layer in layers]
    # What its `convert` calls for a model of scikit-learn, and Keras; that also compiles, into the current folder.
    code = net.c_generate_net_loadable(activations, weights, biases, prefix="policy")
    name = "_".join(["emlearn", *flags]).replace("-", "")
    source = task.folder / f"{name}.c"
    source.write_text(code + _emlearn_answer(task.network), "utf-8")
    library = compiled(task.folder, name, source, *PLAIN, *flags, "-w", f"-I{common.get_include_dir()}", linked=["-lm"])
    return _answers(task, library, "gcc " + " ".join((*PLAIN, *flags)))


def _connected(network: Network) -> list[Layer]:
    """
    The layers of a network that has only fully connected ones.
    """
    layers = [layer for layer in network.layers if isinstance(layer, Layer)]
    if len(layers) < len(network.layers) or network.masked:
        raise ValueError("emlearn has fully connected layers only, and no masks")
    return layers


def _emlearn_answer(network: Network) -> str:
    """
    What a user writes around the generated code: emlearn has the argmax, but no bounds.
    """
    inputs = network.layers[0].weight.shape[1]
    outputs = network.layers[-1].bias.size
    if network.low is None or network.high is None:
        body = f"*(int64_t *)action = policy_predict(observation, {inputs});\n    return *(int64_t *)action < 0;"
    else:
        low, high = (", ".join(f"{x.hex()}f" for x in bound.tolist()) for bound in (network.low, network.high))
        bounded = "fminf(fmaxf(y[i], low[i]), high[i])"
        rescaled = "low[i] + 0.5f * (y[i] + 1) * (high[i] - low[i])"
        body = f"""static const float low[] = {{{low}}}, high[] = {{{high}}};
    float *y = action;
    int64_t status = policy_regress(observation, {inputs}, y, {outputs});
    for (int i = 0; i < {outputs}; i++)
        y[i] = {bounded if network.clipped else rescaled};
    return status;"""
    return f"\nint64_t answer(const void *observation, void *action) {{\n    {body}\n}}\n"


def onnxruntime(task: Task) -> Answers:
    """
    ONNX Runtime's C API, in the library of its Python wheel.
    """
    import onnxruntime as runtime

    (shared,) = (Path(runtime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    # It calls itself libonnxruntime.so.1, a name that no file has here: it is loaded before who needs it.
    runtime_loaded = ctypes.CDLL(str(shared))
    library = compiled(task.folder, "onnxruntime", SOURCES / "onnxruntime.c", "-O2", linked=[str(shared)])
    address, loaded = function(library)
    row, action = task.observations[:1], task.action
    file = onnx_model(task.network, row.shape[1:])
    out_shape, out_type = ((1,), INT64) if task.network.low is None else ((1, action.size), FLOAT)
    prepare: Any = loaded.prepare
    prepare.restype = ctypes.c_char_p
    problem = prepare(
        *(file, ctypes.c_size_t(len(file))),
        *(_integers(row.shape), ctypes.c_size_t(row.ndim), ctypes.c_size_t(row.nbytes), FLOAT),
        *(_integers(out_shape), ctypes.c_size_t(len(out_shape)), ctypes.c_size_t(action.nbytes), out_type),
    )
    if problem:
        raise RuntimeError(problem.decode())
    size = shared.stat().st_size
    note = f"C API, input and output at fixed places; library of {size / 1e6:.1f} MB, model of {len(file):,} bytes"
    return Answers(address, task.observations, action, note, kept=(loaded, runtime_loaded))


def _integers(values: Sequence[int]) -> Any:
    return (ctypes.c_int64 * len(values))(*values)


def _answers(task: Task, library: Path, note: str) -> Answers:
    address, loaded = function(library)
    text = f"{note}; {library.stat().st_size:,} bytes stripped"
    return Answers(address, task.observations, task.action, text, kept=(loaded,))
