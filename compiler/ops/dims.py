"""
What the rows of general models share: the dimensions of one sample, and the attributes that speak of them.

A computed tensor has the shape (BATCH, *dims), a constant has its plain shape, which are its dims. Rules and attributes
count axes in dims; references, whose computed arrays have the batch in front, count them from the end or add one.
"""

from collections.abc import Sequence

from compiler.errors import quote
from compiler.ir import BATCH, DType, Tensor
from compiler.ops.table import Attributes, TensorType, refuse

Dims = tuple[int, ...]

FLOAT, INTEGER, BOOL = DType.FLOAT32, DType.INT64, DType.BOOL
KINDS = (FLOAT, INTEGER, BOOL)
"""The dtypes of general models."""
BYTE = DType.UINT8
"""That of inputs besides: of images, as cameras give them. A `cast` makes it one of the others."""


def is_computed(tensor: Tensor) -> bool:
    """
    Whether a tensor has a value for each sample; else it is a constant.
    """
    return tensor.shape[:1] == (BATCH,)


def dims_of(op: str, tensor: Tensor, rank: int | None = None) -> Dims:
    """
    The dimensions of one sample, or of a constant; refuses symbolic ones, and another number of them than `rank`.
    """
    dims = tuple(size for size in tensor.shape[is_computed(tensor) :] if isinstance(size, int))
    if len(dims) != len(tensor.shape) - is_computed(tensor):
        refuse(op, f"{quote(tensor.name)} has a symbolic dimension besides the batch: {tensor.shape}")
    if rank is not None and len(dims) != rank:
        refuse(op, f"{quote(tensor.name)} must have {rank} dimensions, found {dims}")
    return dims


def sample(dtype: DType, dims: Sequence[int]) -> TensorType:
    """
    The type of a computed tensor.
    """
    return TensorType(dtype, (BATCH, *dims))


def need_computed(op: str, *tensors: Tensor) -> None:
    """
    Refuses constants: what is known at build time is computed at build time.
    """
    for tensor in tensors:
        if not is_computed(tensor):
            refuse(op, f"{quote(tensor.name)} must have shape (batch, ...), found {tensor.shape}")


def need_one_computed(op: str, *tensors: Tensor) -> None:
    """
    Refuses inputs that are all constants.
    """
    if not any(map(is_computed, tensors)):
        refuse(op, "all inputs are constants: compute the result and make it a constant")


def need_kind(op: str, allowed: Sequence[DType], *tensors: Tensor) -> None:
    """
    Refuses tensors of other dtypes.
    """
    for tensor in tensors:
        if tensor.dtype not in allowed:
            refuse(op, f"{quote(tensor.name)} must be {' or '.join(allowed)}, found {tensor.dtype}")


def need_constant(op: str, tensor: Tensor, dims: Dims) -> None:
    """
    Refuses what is not a float32 constant of this shape.
    """
    need_kind(op, (FLOAT,), tensor)
    if tensor.shape != dims:
        refuse(op, f"{quote(tensor.name)} must be a constant of shape {dims}, found {tensor.shape}")


def common_kind(op: str, *tensors: Tensor) -> DType:
    """
    The dtype in which numbers of these dtypes meet; bool counts as int64.
    """
    need_kind(op, KINDS, *tensors)
    return FLOAT if any(tensor.dtype is FLOAT for tensor in tensors) else INTEGER


def broadcast(op: str, *tensors: Tensor) -> Dims:
    """
    The dims that several tensors have together, as NumPy broadcasts; constants may have fewer dims, aligned right.
    """
    need_one_computed(op, *tensors)
    dims = [dims_of(op, tensor) for tensor in tensors]
    ranks = {len(sizes) for tensor, sizes in zip(tensors, dims, strict=True) if is_computed(tensor)}
    rank = max(map(len, dims))
    if ranks != {rank}:
        refuse(op, f"computed tensors must have the same rank, and constants none larger; found {_listed(dims)}")
    return spread(op, *((1,) * (rank - len(sizes)) + sizes for sizes in dims))


def spread(op: str, *dims: Dims) -> Dims:
    """
    The dims that dims of one rank broadcast to.
    """
    result: list[int] = []
    for sizes in zip(*dims, strict=True):
        larger = {size for size in sizes if size != 1} or {1}
        if len(larger) > 1:
            refuse(op, f"shapes do not broadcast: {_listed(dims)}")
        result += larger
    return tuple(result)


def axis_of(op: str, attributes: Attributes, rank: int) -> int:
    """
    The attribute `axis`, which must be one of the dims.
    """
    axis = attributes["axis"]
    if type(axis) is not int or not 0 <= axis < rank:
        refuse(op, f"attribute axis must be at least 0 and less than {rank}, found {quote(axis)}")
    return axis


def axes_of(op: str, attributes: Attributes, name: str, rank: int) -> Dims:
    """
    An attribute of one or more axes, each once.
    """
    axes = whole(op, attributes, name, 0)
    if not axes or len(set(axes)) != len(axes) or max(axes) >= rank:
        refuse(op, f"attribute {name} must be axes less than {rank}, each once, found {quote(axes)}")
    return axes


def whole(op: str, attributes: Attributes, name: str, least: int, count: int | None = None) -> Dims:
    """
    An attribute of integers that are at least `least`: `count` of them, if it is given.
    """
    value = attributes[name]
    assert isinstance(value, tuple)
    plain = tuple(part for part in value if type(part) is int and part >= least)
    if len(plain) != len(value) or (count is not None and len(plain) != count):
        wanted = "integers" if count is None else f"{count} integers"
        refuse(op, f"attribute {name} must be {wanted} of at least {least}, found {quote(value)}")
    return plain


def number(op: str, attributes: Attributes, name: str, least: int) -> int:
    """
    An attribute that is an integer of at least `least`.
    """
    value = attributes[name]
    if type(value) is not int or value < least:
        refuse(op, f"attribute {name} must be an integer of at least {least}, found {quote(value)}")
    return value


def _listed(dims: Sequence[Dims]) -> str:
    return ", ".join(map(str, dims))
