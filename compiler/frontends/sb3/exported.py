"""
A user's own features extractor, which torch.export wrote to a file of its own, within a policy's graph.

Its code is not in a checkpoint, but its weights are: where both have a tensor of one name, they must be the same.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from compiler.errors import quote
from compiler.frontends.sb3.network import Network, Part, Signal
from compiler.frontends.torch_export import Extractor, read_extractor
from compiler.ir import BATCH, DType, Model
from compiler.ops import Array
from compiler.readers.files import read_file

LISTED = 5
CRITIC = "vf_features_extractor"
"""The critic's extractor where it has weights of its own: the actor's graph with these."""


def extract(network: Network, path: Path, parts: list[Part], prefix: str) -> Signal:
    """
    The features of an observation: the graph of the file, with its weights, between preprocessing and the first layer.

    Args:
        network: the policy's graph under construction.
        path: the .pt2 file.
        parts: the observation as SB3 gives it to the extractor.
        prefix: where the extractor's tensors stand in the checkpoint.
    """
    own = {
        name.removeprefix(f"{prefix}."): array
        for name, array in network.tensors.items()
        if name.startswith(f"{prefix}.")
    }
    findings = network.findings
    read = findings.attempt(lambda: read_extractor(read_file(path), path, own if prefix == CRITIC else {}))
    if read is None:
        return Signal("", None)
    for text in _different(read.tensors, own, prefix):
        findings.damaged(f"{path}: {text}")
    wanted = _wanted(read, parts, path, network)
    if findings:
        return Signal("", None)
    result = _spliced(network, read.model, wanted, prefix)
    return Signal(result, network.builder.tensors[result].elements)


def _different(given: Mapping[str, Array], own: Mapping[str, Array], prefix: str) -> list[str]:
    """
    Where the file's tensors are not the checkpoint's.
    """
    common = sorted(given.keys() & own.keys())
    if own and not common:
        names = ", ".join(quote(f"{prefix}.{name}") for name in sorted(own)[:LISTED])
        return [
            f"has none of the checkpoint's {names}: is it what torch.export made of model.policy.features_extractor?"
        ]
    found = [name for name in common if not _same(given[name], own[name])]
    if not found:
        return []
    names = ", ".join(quote(f"{prefix}.{name}") for name in found[:LISTED])
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return [f"has other weights than the checkpoint in {names}{more}: export it from the agent that was saved"]


def _same(one: Array, other: Array) -> bool:
    return one.shape == other.shape and bool(
        np.array_equal(one, other.astype(one.dtype), equal_nan=one.dtype.kind == "f")
    )


def _wanted(read: Extractor, parts: list[Part], path: Path, network: Network) -> dict[str, Signal]:
    """
    For each input of the graph what it is given: the part of the observation of its key, of the same shape.
    """
    model, findings = read.model, network.findings
    if len(model.outputs) != 1 or model.states:
        findings.unsupported(
            f"{path}: gives {len(model.outputs)} outputs; a features extractor gives one, and no state"
        )
        return {}
    named = {part.key: part for part in parts}
    keys = read.keys or ([""] if "" in named else [])
    if sorted(keys) != sorted(named) or len(keys) != len(model.inputs):
        expected = ", ".join(map(quote, sorted(named))) if "" not in named else "one tensor"
        found = ", ".join(map(quote, sorted(read.keys))) if read.keys else f"{len(model.inputs)} tensors"
        findings.unsupported(f"{path}: takes {found}; SB3 gives it {expected}")
        return {}
    wanted = {}
    for name, key in zip(model.inputs, keys, strict=True):
        part, taken = named[key], model.tensors[name].fixed_shape
        given = _shape(network, part)
        taken = taken if model.batched else taken[1:]
        dtype = model.tensors[name].dtype
        if not findings and dtype is not DType.FLOAT32:
            findings.unsupported(
                f"{path}: takes {dtype}; SB3 gives it float32, of images too: export it with an example of that"
            )
        if not findings and taken != given:
            what = f"the part {quote(key)} of the observation" if key else "the observation"
            findings.unsupported(f"{path}: takes {what} in the shape {taken}; SB3 gives it {given}")
        wanted[name] = part.signal
    for output in model.outputs:
        shape = model.tensors[output.tensor].fixed_shape
        if len(shape if model.batched else shape[1:]) != 1:
            findings.unsupported(f"{path}: gives features of the shape {shape}; SB3 needs (batch, features_dim)")
    return wanted


def _shape(network: Network, part: Part) -> tuple[int, ...]:
    return network.builder.tensors[part.signal.tensor].fixed_shape if not network.findings else ()


def _spliced(network: Network, model: Model, given: Mapping[str, Signal], prefix: str) -> str:
    """
    Adds the graph's constants and nodes, under names of their own, and returns the tensor of its result.
    """
    builder = network.builder
    names: dict[str, str] = {}
    for name, signal in given.items():
        tensor = signal.tensor
        if builder.tensors[tensor].dtype is not DType.FLOAT32:  # SB3 makes float32 of everything
            tensor = builder.add("divide", [tensor], f"{prefix}.{name}:float", divisor=1.0)
        shape = model.tensors[name].fixed_shape
        if builder.tensors[tensor].shape != (BATCH, *shape):
            tensor = builder.add("reshape", [tensor], f"{prefix}.{name}:reshape", shape=shape)
        names[name] = tensor
    for constant in model.constants():
        assert constant.data is not None
        names[constant.name] = network.constant(f"{prefix}:{constant.name}", constant.data).tensor
    for node in model.nodes:
        results = builder.add_all(
            node.op, [names[name] for name in node.inputs], f"{prefix}.{node.name}", **node.attributes
        )
        names |= dict(zip(node.outputs, results, strict=True))
    result = names[model.outputs[0].tensor]
    if not model.batched:
        shape = builder.tensors[result].fixed_shape[1:]
        result = builder.add("reshape", [result], f"{prefix}:features", shape=shape)
    return result
