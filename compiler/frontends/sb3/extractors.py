"""
SB3's features extractors, `stable_baselines3.common.torch_layers`: FlattenExtractor, NatureCNN, CombinedExtractor.

Which one a policy has follows from its class or from `features_extractor_class`; sizes follow from the tensors. An
extractor that is not SB3's computes what only its code says, which is not in the file.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from compiler.errors import BuildError, UnsupportedError, quote
from compiler.frontends.sb3 import exported
from compiler.frontends.sb3.description import COMBINED, EXPORTED, FLATTEN, NATURE
from compiler.frontends.sb3.network import Network, Part, Signal
from compiler.ir import Box, Dict, Discrete, MultiDiscrete, Space
from compiler.ops import Array
from compiler.readers.pickle_machine import Symbol

MODULE = "stable_baselines3.common.torch_layers"
KNOWN = {f"{MODULE}.{name}": name for name in (FLATTEN, NATURE, COMBINED)}
ARGUMENTS: Mapping[str, frozenset[str]] = {
    FLATTEN: frozenset(),
    NATURE: frozenset({"features_dim", "normalized_image"}),
    COMBINED: frozenset({"cnn_output_dim", "normalized_image"}),
}
KEPT = f"only SB3's {FLATTEN}, {NATURE} and {COMBINED} can be compiled from a file"
ADVICE = f"{KEPT}; retrain with one of them"
EXPORT = (
    f"{KEPT} alone; export yours with torch.export.save(torch.export.export(model.policy.features_extractor, "
    '(preprocessed observation,)), "extractor.pt2") and pass --extractor extractor.pt2'
)

STRIDES = {"cnn.0": 4, "cnn.2": 2, "cnn.4": 1}
"""NatureCNN's convolutions; the other sizes are those of their tensors."""
WINDOWS, FILTERS = (8, 4, 3), 64
"""What SB3 makes of those other sizes."""
NATURE_MODULES = frozenset({"", "cnn", *(f"cnn.{slot}" for slot in range(7)), "linear", "linear.0", "linear.1"})
LISTED = 3


def extractor_from(value: object, default: str, shown: str, where: str, given: bool = False) -> str:
    """
    Which of SB3's extractors a decoded `features_extractor_class` is.

    Args:
        value: the decoded argument; None if it is not given.
        default: that of the policy's class.
        shown: how to name another one.
        where: the file and the argument.
        given: whether another one is at hand, as the option `extractor` gives it.

    Raises:
        UnsupportedError: it is another one, and not at hand.
        BuildError: it is SB3's, but another one is given.
    """
    known = default if value is None else KNOWN.get(value.path) if isinstance(value, Symbol) else None
    if known is not None:
        if given:
            raise BuildError(where, f"is SB3's {known}, which the file holds all of: leave --extractor out")
        return known
    if given:
        return EXPORTED
    raise UnsupportedError(where, f"{shown} is a features extractor whose code is not in the file; {EXPORT}")


def space_findings(extractor: str, space: Space) -> Iterable[str]:
    """
    Why an extractor can't take an observation space.
    """
    if extractor == EXPORTED:
        return
    if isinstance(space, Dict) != (extractor == COMBINED):
        yield f"{extractor} does not take {type(space).__name__} observations"
    elif extractor == NATURE and not (isinstance(space, Box) and len(space.shape) == 3):
        yield f"{NATURE} takes images (channels, height, width), found {_shown(space)}"


def _shown(space: Space) -> str:
    return f"a Box of shape {space.shape}" if isinstance(space, Box) else f"{type(space).__name__} observations"


def extractor_of(prefix: str, names: Iterable[str]) -> str:
    """
    Which extractor a bare state dict has under a prefix, by the names of its tensors and modules.
    """
    inside = [name.removeprefix(f"{prefix}.") for name in names if name.startswith(f"{prefix}.")]
    if any(name.partition(".")[0] == "extractors" for name in inside):
        return COMBINED
    return NATURE if any(name.partition(".")[0] == "cnn" for name in inside) else FLATTEN


def other_findings(prefix: str, extractor: str, space: Space, names: Iterable[str]) -> Iterable[str]:
    """
    What shows that the extractor under a prefix computes something else than SB3's.
    """
    if extractor == EXPORTED:
        return
    allowed = _allowed(extractor, space)
    owners = allowed - {""}
    inside = dict.fromkeys(name.removeprefix(f"{prefix}.") for name in names if name.startswith(f"{prefix}."))
    strange = [name for name in inside if name not in allowed and name.rpartition(".")[0] not in owners]
    if strange:
        shown = ", ".join(quote(f"{prefix}.{name}") for name in strange[:LISTED])
        yield f"the features extractor {quote(prefix)} is not SB3's {extractor} (it has {shown}); {ADVICE}"


def _allowed(extractor: str, space: Space) -> frozenset[str]:
    """
    The modules of an extractor; a tensor belongs to one of them.
    """
    if extractor == FLATTEN:
        return frozenset({"", "flatten"})
    if extractor == NATURE:
        return NATURE_MODULES
    assert isinstance(space, Dict)
    roots = [f"extractors.{key}" for key, _ in space.spaces]
    modules = {f"{root}.{name}" if name else root for root in roots for name in NATURE_MODULES}
    return frozenset({"", "extractors", *modules})


def nature_features(shape: tuple[int, ...]) -> int:
    """
    How many features NatureCNN's convolutions make of an image (channels, height, width); 0 if it is too small.
    """
    sides = list(shape[1:])
    for window, stride in zip(WINDOWS, STRIDES.values(), strict=True):
        sides = [(side - window) // stride + 1 if side >= window else 0 for side in sides]
    return FILTERS * sides[0] * sides[1]


def extract(network: Network, parts: list[Part], prefix: str, extractor: str) -> Signal:
    """
    The features of an observation: the extractor under a key prefix.
    """
    if extractor == EXPORTED:
        assert network.extractor is not None
        return exported.extract(network, network.extractor, parts, prefix)
    if extractor == NATURE:
        return _nature_cnn(network, parts[0], prefix)
    if extractor == FLATTEN:
        return _flatten(network, parts[0], f"{prefix}.flatten")
    features = [_part(network, part, f"{prefix}.extractors.{part.key}") for part in parts]
    if len(features) == 1:
        return features[0]
    widths = [signal.width for signal in features if signal.width is not None]
    width = sum(widths) if len(widths) == len(features) else None
    return network.combine(features, "concat", f"{prefix}.cat", width=width)


def _part(network: Network, part: Part, prefix: str) -> Signal:
    """
    One part of CombinedExtractor: whether it is seen as an image, the tensors tell, for SB3's versions differ in that.
    """
    return _nature_cnn(network, part, prefix) if network.has(f"{prefix}.cnn") else _flatten(network, part, prefix)


def _flatten(network: Network, part: Part, name: str) -> Signal:
    """
    Choices have become one-hot vectors already, which are flat.
    """
    if isinstance(part.space, (Discrete, MultiDiscrete)):
        return part.signal
    return network.apply(part.signal, "flatten", name)


def _nature_cnn(network: Network, part: Part, prefix: str) -> Signal:
    space, signal = part.space, part.signal
    if not isinstance(space, Box) or len(space.shape) != 3:
        network.findings.damaged(f"{quote(prefix)} is a {NATURE}, which takes images, found {_shown(space)}")
        return Signal("", None)
    channels: int | None = space.shape[0]
    for name, stride in STRIDES.items():
        signal, channels = _convolve(network, signal, f"{prefix}.{name}", channels, stride)
        following = f"{prefix}.cnn.{int(name.rpartition('.')[2]) + 1}"
        signal = network.apply(signal, "relu", following)
    signal = network.apply(signal, "flatten", f"{prefix}.cnn.6")
    width = network.builder.tensors[signal.tensor].elements if not network.findings else None
    signal = network.linear(Signal(signal.tensor, width), f"{prefix}.linear.0")
    return network.apply(signal, "relu", f"{prefix}.linear.1")


def _convolve(
    network: Network, signal: Signal, key: str, channels: int | None, stride: int
) -> tuple[Signal, int | None]:
    """
    One nn.Conv2d, and how many channels it gives.
    """
    weight = network.tensors.get(f"{key}.weight")
    if weight is None:
        network.findings.damaged(f"layer {quote(key)} is missing: there is no {quote(f'{key}.weight')}")
        return Signal("", None), None
    if weight.ndim != 4 or weight.dtype != np.float32:
        shown = f"{weight.dtype} of shape {weight.shape}"
        network.findings.damaged(f"layer {quote(key)}: the weight must be four-dimensional and floating, found {shown}")
        return Signal("", None), None
    filters, expected = weight.shape[:2]
    if channels is not None and expected != channels:
        network.findings.damaged(f"layer {quote(key)} takes {expected} channels; there are {channels}")
    bias: Array | None = network.tensors.get(f"{key}.bias")
    network.check_bias(key, bias, filters)
    if bias is None and not network.findings:
        network.builder.constant(f"{key}.bias", np.zeros(filters, np.float32))
    names = (f"{key}.weight", f"{key}.bias")
    return network.combine([signal], "conv2d", key, *names, width=None, stride=(stride, stride)), filters
