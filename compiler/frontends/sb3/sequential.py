"""
The fully connected networks of SB3: nn.Sequential of nn.Linear, activations and BatchRenorm, by their slots.
"""

import re
from collections.abc import Callable, Iterable

from compiler.errors import quote
from compiler.frontends.sb3.activations import Activation
from compiler.frontends.sb3.network import Network, Signal

PARAMETER = re.compile(r"(?P<slot>0|[1-9]\d{0,3})\.(?P<name>\w+)", re.ASCII)
SLOT = re.compile(r"0|[1-9]\d{0,3}", re.ASCII)
LISTED = 8
"""At most so many modules of one network are named in a message."""
NORM_INPUTS = ("ra_mean", "ra_var", "scale", "bias")
"""The statistics and parameters of BatchRenorm in the order in which the op `batch_norm` takes them."""
NORM_PERIOD = 3
"""BatchRenorm, nn.Linear, activation."""


def hidden(network: Network, signal: Signal, prefix: str, activation: Activation) -> Signal:
    """
    The result of `nn.Sequential(Linear, activation, Linear, activation, ...)`, perhaps empty.
    """
    layers = layer_count(network, prefix, activation)
    _check_modules(network, prefix, 2 * layers)
    for slot in range(0, 2 * layers, 2):
        signal = network.linear(signal, f"{prefix}.{slot}")
        signal = network.activate(signal, activation, f"{prefix}.{slot + 1}")
    return signal


def mlp(
    network: Network, signal: Signal, prefix: str, activation: Activation, outputs: int | None, *, squashed: bool
) -> Signal:
    """
    The result of `create_mlp` up to its last nn.Linear: Linear, activation, ..., Linear, and Tanh if `squashed`.
    """
    layers = layer_count(network, prefix, activation)
    _check_modules(network, prefix, 2 * layers - 1 + squashed)
    for slot in range(0, 2 * layers - 2, 2):
        signal = network.linear(signal, f"{prefix}.{slot}")
        signal = network.activate(signal, activation, f"{prefix}.{slot + 1}")
    return network.linear(signal, f"{prefix}.{max(0, 2 * layers - 2)}", outputs)


def normalised(network: Network, signal: Signal, prefix: str, activation: Activation, epsilon: float) -> Signal:
    """
    The result of CrossQ's `nn.Sequential(BatchRenorm, Linear, activation, BatchRenorm, ..., activation, BatchRenorm)`.
    """
    slots = _slots(network, prefix, lambda slot, name: _fits_norm(slot, name, activation))
    layers = max(((slot + 2) // NORM_PERIOD for slot in slots), default=0)
    _check_modules(network, prefix, NORM_PERIOD * layers + 1)
    for first in range(0, NORM_PERIOD * layers, NORM_PERIOD):
        signal = _normalise(network, signal, f"{prefix}.{first}", epsilon)
        signal = network.linear(signal, f"{prefix}.{first + 1}")
        signal = network.activate(signal, activation, f"{prefix}.{first + 2}")
    return _normalise(network, signal, f"{prefix}.{NORM_PERIOD * layers}", epsilon)


def is_normalised(names: Iterable[str], prefix: str) -> bool:
    """
    Whether a network has BatchRenorm, by the names of its tensors.
    """
    return f"{prefix}.0.ra_mean" in names


def _normalise(network: Network, signal: Signal, key: str, epsilon: float) -> Signal:
    names = [f"{key}.{name}" for name in NORM_INPUTS]
    for name in names:
        array = network.tensors.get(name)
        if array is None:
            network.findings.damaged(f"layer {quote(key)} is missing: there is no {quote(name)}")
        elif array.ndim != 1 or array.dtype.kind != "f" or signal.width not in (None, len(array)):
            shown = f"{array.dtype} of shape {array.shape}"
            network.findings.damaged(f"tensor {quote(name)} must have {signal.width} floating elements, found {shown}")
    return network.apply(signal, "batch_norm", key, *names, epsilon=epsilon)


def layer_count(network: Network, prefix: str, activation: Activation) -> int:
    """
    How many nn.Linear a sequential network has, by its tensors and its list of modules; every other module is one.
    """
    return max(_slots(network, prefix, lambda slot, name: _fits(slot, name, activation)), default=-2) // 2 + 1


def _fits(slot: int, name: str, activation: Activation) -> bool:
    """
    Whether a parameter in a slot is one of nn.Linear or of a learned activation.
    """
    return name in ("weight", "bias") if slot % 2 == 0 else activation.learned and name == "weight"


def _fits_norm(slot: int, name: str, activation: Activation) -> bool:
    if slot % NORM_PERIOD == 0:
        return name in (*NORM_INPUTS, "steps")
    return name in ("weight", "bias") if slot % NORM_PERIOD == 1 else activation.learned and name == "weight"


def _slots(network: Network, prefix: str, fits: Callable[[int, str], bool]) -> list[int]:
    """
    The slots that hold parameters or are listed; records parameters that do not fit their slot.
    """
    slots = [int(slot) for slot in _listed(network, prefix) if SLOT.fullmatch(slot)]
    slots = [slot for slot in slots if fits(slot, "weight") or fits(slot, "scale")]
    for key in network.tensors:
        if not key.startswith(f"{prefix}."):
            continue
        match = PARAMETER.fullmatch(key.removeprefix(f"{prefix}."))
        if match is None or not fits(int(match["slot"]), match["name"]):
            network.findings.unsupported(
                f"tensor {quote(key)}: a parameter of a layer that is neither nn.Linear nor an activation"
            )
        else:
            slots.append(int(match["slot"]))
    return slots


def _listed(network: Network, prefix: str) -> list[str]:
    """
    The modules that the state dict lists inside a network; empty if it has no such list.
    """
    return [path.removeprefix(f"{prefix}.") for path in network.module_paths if path.startswith(f"{prefix}.")]


def _check_modules(network: Network, prefix: str, expected: int) -> None:
    """
    Compares the modules that the state dict lists, where it does, with those that a network must have.
    """
    if prefix not in network.module_paths:
        return
    listed, wanted = _listed(network, prefix), [str(slot) for slot in range(expected)]
    unknown = [name for name in listed if name not in wanted]
    for name in unknown[:LISTED]:
        network.findings.unsupported(f"module {quote(f'{prefix}.{name}')} is neither nn.Linear nor an activation")
    missing = [quote(f"{prefix}.{name}") for name in wanted if name not in listed]
    if missing:
        network.findings.damaged(f"the list of modules lacks {', '.join(missing[:LISTED])}")
