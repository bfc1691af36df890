"""
What a generated package says about itself: its `SPEC`.
"""

import math

from compiler.codegen.interface import Interface
from compiler.errors import BuildError
from compiler.ir import Box, Dict, Discrete, Model, MultiBinary, MultiDiscrete, Space


def specification(model: Model, interface: Interface, name: str) -> dict[str, object]:
    """
    Plain values: what goes in, what comes out, and where the model comes from.
    """
    policy, origin = interface.policy, model.origin
    spec: dict[str, object] = {
        "name": name,
        "policy": policy.kind,
        "observation": _observation(policy.observation_space),
        "action": _action(policy.action_space),
        "scores": {"name": interface.scores.name, "count": model.tensors[interface.scores.tensor].elements},
    }
    if interface.masked:
        spec["action_masks"] = {"count": model.tensors[interface.scores.tensor].elements}
    if interface.recurrent:
        units = model.tensors[interface.hidden[0].input].elements
        spec["state"] = {"layers": len(interface.hidden), "units": units}
    if policy.sampling is not None:
        spec["sampling"] = policy.sampling.kind
    spec["source"] = {"file": origin.file, "sha256": origin.sha256, "format": origin.format}
    if origin.vecnormalize:
        spec["vecnormalize"] = origin.vecnormalize
    spec["assumed"] = list(origin.assumptions)
    return spec


def _observation(space: Space) -> dict[str, object]:
    match space:
        case Dict(spaces=spaces):
            return {"kind": "Dict", "spaces": {key: _observation(part) for key, part in spaces}}
        case Box():
            return {"kind": "Box", "shape": space.shape, "dtype": str(space.dtype)}
        case other:
            return _choices(other)


def _choices(space: Space) -> dict[str, object]:
    match space:
        case Discrete(n=n):
            return {"kind": "Discrete", "n": n}
        case MultiDiscrete(nvec=nvec):
            return {"kind": "MultiDiscrete", "nvec": nvec}
        case MultiBinary(shape=shape):
            return {"kind": "MultiBinary", "shape": shape, "n": math.prod(shape)}
        case other:
            raise BuildError("codegen", f"no space {type(other).__name__}")


def _action(space: Space) -> dict[str, object]:
    if not isinstance(space, Box):
        return _choices(space)
    bounds = {"low": space.low.ravel().tolist(), "high": space.high.ravel().tolist()}
    return {"kind": "Box", "shape": space.shape, "dtype": str(space.dtype), **bounds}
