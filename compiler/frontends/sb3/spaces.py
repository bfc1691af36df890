"""
Spaces of gym and gymnasium, from the decoded objects in a checkpoint.

A pickled space is a call of its class with its attributes as state. gym before 0.18 called the shape `shape`, later
`_shape`; `start` came with gym 0.22.
"""

import re
from collections.abc import Callable, Mapping

from compiler.errors import CheckpointError, UnsupportedError, quote
from compiler.ir import Box, Dict, Discrete, DType, MultiBinary, MultiDiscrete, Space
from compiler.readers.numpy_values import as_array, as_dtype, as_scalar, as_shape
from compiler.readers.pickle_machine import Call, Symbol, describe, mapping

Attributes = Mapping[object, object]

CLASS = re.compile(r"(?:gym|gymnasium)\.spaces\.\w+\.(?P<name>\w+)", re.ASCII)


def space_from(value: object, where: str) -> Space:
    """
    The space of a decoded value.

    Args:
        value: what the pickle machine made of a pickled space.
        where: the file and the field, for messages.

    Raises:
        CheckpointError: it isn't a space, or its attributes are damaged or contradict each other.
        UnsupportedError: it is a space of another kind.
    """
    if not isinstance(value, Call) or not isinstance(value.function, Symbol):
        raise CheckpointError(where, f"expected a space, found {describe(value)}")
    match = CLASS.fullmatch(value.function.path)
    if match is None or match["name"] not in KINDS:
        raise UnsupportedError(
            where, f"the space {quote(value.function.path)} is not one of gymnasium's {', '.join(KINDS)}"
        )
    return KINDS[match["name"]](mapping(value.state, where), where)


def _box(attributes: Attributes, where: str) -> Box:
    dtype = as_dtype(_attribute(attributes, "dtype", where), f"{where}: dtype").newbyteorder("=")
    shape_name = "_shape" if "_shape" in attributes else "shape"
    shape = as_shape(_attribute(attributes, shape_name, where), f"{where}: {shape_name}")
    low = as_array(_attribute(attributes, "low", where), f"{where}: low")
    high = as_array(_attribute(attributes, "high", where), f"{where}: high")
    for name, bound in (("low", low), ("high", high)):
        if (bound.shape, bound.dtype) != (shape, dtype):
            found = f"{name} is {bound.dtype}{bound.shape}"
            raise CheckpointError(where, f"a Box of {dtype}{shape} whose {found}")
    if low.size == 0:
        raise CheckpointError(where, f"a Box of shape {low.shape} has no elements")
    if not (low <= high).all():
        raise CheckpointError(where, "a Box with a bound that is NaN, or with low above high")
    return Box(DType(dtype.name), low, high)


def _discrete(attributes: Attributes, where: str) -> Discrete:
    n = _integer(_attribute(attributes, "n", where), f"{where}: n")
    if n < 1:
        raise CheckpointError(where, f"a Discrete of {n} choices")
    return Discrete(n, _integer(attributes.get("start", 0), f"{where}: start"))


def _multi_discrete(attributes: Attributes, where: str) -> MultiDiscrete:
    nvec = as_array(_attribute(attributes, "nvec", where), f"{where}: nvec")
    if nvec.dtype.kind not in "iu" or nvec.size == 0 or (nvec < 1).any():
        raise CheckpointError(where, "a MultiDiscrete whose nvec is not made of positive integers")
    if nvec.ndim != 1:
        raise UnsupportedError(where, f"a MultiDiscrete whose nvec has {nvec.ndim} dimensions; SB3 takes one")
    start = as_array(attributes["start"], f"{where}: start") if attributes.get("start") is not None else nvec[:0]
    return MultiDiscrete(tuple(nvec.tolist()), tuple(start.tolist()))


def _multi_binary(attributes: Attributes, where: str) -> MultiBinary:
    n = _attribute(attributes, "n", where)
    shape = as_shape(n if isinstance(n, (tuple, list)) else (_integer(n, f"{where}: n"),), f"{where}: n")
    if 0 in shape:
        raise CheckpointError(where, f"a MultiBinary of shape {shape}")
    return MultiBinary(shape)


def _dict(attributes: Attributes, where: str) -> Dict:
    parts = mapping(_attribute(attributes, "spaces", where), f"{where}: spaces")
    named = []
    for key, part in parts.items():
        if not isinstance(key, str):
            raise CheckpointError(where, f"a Dict space with the key {quote(key)}, which is not text")
        named.append((key, space_from(part, f"{where}: {quote(key)}")))
    return Dict(tuple(named))


KINDS: Mapping[str, Callable[[Attributes, str], Space]] = {
    "Box": _box,
    "Discrete": _discrete,
    "MultiDiscrete": _multi_discrete,
    "MultiBinary": _multi_binary,
    "Dict": _dict,
}


def _attribute(attributes: Attributes, name: str, where: str) -> object:
    if name not in attributes:
        raise CheckpointError(where, f"a space without the attribute {name}")
    return attributes[name]


def _integer(value: object, where: str) -> int:
    number = as_scalar(value, where)
    if type(number) is not int:
        raise CheckpointError(where, f"expected an integer, found {quote(number)}")
    return number
