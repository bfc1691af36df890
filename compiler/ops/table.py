"""
What a row of the op table says: the one place where an op is defined.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from numpy.typing import NDArray

from compiler.errors import UnsupportedError, quote
from compiler.ir import Attribute, DType, Shape, Tensor

Attributes: TypeAlias = Mapping[str, Attribute]
Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class TensorType:
    """
    The dtype and shape of a result, before it has a name.
    """

    dtype: DType
    shape: Shape

    @classmethod
    def of(cls, tensor: Tensor) -> "TensorType":
        """
        The type of a declared tensor.
        """
        return cls(tensor.dtype, tensor.shape)


@dataclass(frozen=True)
class Op:
    """
    One row: what an op takes, what it gives, and how NumPy computes it.
    """

    name: str
    summary: str
    """One line for the generated table of supported ops; gives PyTorch's name for it."""
    result: Callable[[Sequence[Tensor], Attributes], TensorType | list[TensorType]]
    """The shape rule: the type of the result, or of each of several; refuses with `refuse` what the op cannot take."""
    reference: Callable[..., Any]
    """
    `reference(*inputs, **attributes)` in float64: the definition of the op that predictors are compared with; a tuple
    where there are several results.
    """
    arity: int | None = 1
    """How many inputs it takes; None: one or more."""
    attributes: Mapping[str, Attribute | type] = field(default_factory=dict)
    """Attribute names with their default, or with their type where one must be given."""
    template: str = ""
    """The template of the op's kernel, or of an element-wise op's function; may name attributes: `dense_{layout}`."""
    elementwise: bool = False
    """Computes each element from that element alone, so that it can be fused into the layer before it."""
    single: bool = False
    """Works on images, observation by observation: its kernel has no form for blocks."""
    multiply_adds: Callable[[Sequence[Tensor], Attributes], int] = lambda inputs, attributes: 0
    """Multiply-adds per observation."""

    def infer(self, inputs: Sequence[Tensor], attributes: Attributes) -> list[TensorType]:
        """
        The types of the results.

        Raises:
            UnsupportedError: if arity, attributes or shapes are not what the op takes.
        """
        if not inputs or (self.arity is not None and len(inputs) != self.arity):
            refuse(self.name, f"takes {self.arity or 'one or more'} inputs, found {len(inputs)}")
        self.check_attributes(attributes)
        found = self.result(inputs, attributes)
        return found if isinstance(found, list) else [found]

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        """
        The reference of all results.
        """
        found: Any = self.reference(*inputs, **attributes)
        return found if isinstance(found, tuple) else (found,)

    def check_attributes(self, attributes: Attributes) -> None:
        """
        Refuses attributes that the row does not declare, lacks, or has with another type.
        """
        for key, declared in self.attributes.items():
            kind = declared if isinstance(declared, type) else type(declared)
            value = attributes.get(key)
            if key not in attributes:
                refuse(self.name, f"attribute {key} is missing")
            if type(value) is not kind:
                refuse(self.name, f"attribute {key} must be {kind.__name__}, found {quote(value)}")
        for key in attributes:
            if key not in self.attributes:
                refuse(self.name, f"unknown attribute {quote(key)}")

    def complete(self, attributes: Attributes) -> Attributes:
        """
        The attributes with this row's defaults filled in.
        """
        defaults = {key: value for key, value in self.attributes.items() if not isinstance(value, type)}
        return {**defaults, **attributes}


def refuse(op: str, finding: str) -> NoReturn:
    """
    Raises UnsupportedError for an op's inputs or attributes.
    """
    raise UnsupportedError(op, finding)


def need_float(op: str, *tensors: Tensor) -> None:
    """
    Refuses tensors that are not float32.
    """
    for tensor in tensors:
        if tensor.dtype is not DType.FLOAT32:
            refuse(op, f"{quote(tensor.name)} must be float32, found {tensor.dtype}")


def need_rows(op: str, tensor: Tensor) -> int:
    """
    The number of features of a (batch, features) tensor; refuses other shapes.
    """
    if len(tensor.shape) != 2 or not isinstance(tensor.shape[0], str) or not isinstance(tensor.shape[1], int):
        refuse(op, f"{quote(tensor.name)} must have shape (batch, features), found {tensor.shape}")
    return tensor.shape[1]


def same_type(op: str) -> Callable[[Sequence[Tensor], Attributes], TensorType]:
    """
    The shape rule of ops that keep the type of their one float32 input.
    """

    def result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
        need_float(op, inputs[0])
        return TensorType.of(inputs[0])

    return result
