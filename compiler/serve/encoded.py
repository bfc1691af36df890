"""
Arrays in JSON as their bytes, in base64: shorter than as numbers, and read in less time.
"""

import math
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiler.serve.answers import RequestError

Encoding = Literal["float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"]
ENCODINGS: Final = get_args(Encoding)
"""Types of numbers that an encoded array may have."""

DEEPEST: Final = 16
"""Dimensions that an encoded array may have."""


class Encoded(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """
    An array as its bytes: little endian, the last dimension innermost.
    """

    base64: bytes
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=2**31)]], msgspec.Meta(max_length=DEEPEST)]
    dtype: Encoding = "float32"

    def array(self, path: str) -> NDArray[Any]:
        """
        The array, read-only.

        Raises:
            RequestError: 422, if there are more or fewer bytes than shape and dtype say; `path` is where it stands.
        """
        dtype = np.dtype(self.dtype).newbyteorder("<")
        expected = math.prod(self.shape) * dtype.itemsize
        if len(self.base64) != expected:
            message = f"expected {expected} bytes for shape {self.shape} of {self.dtype}, found {len(self.base64)}"
            raise RequestError(422, message, f"{path}.base64")
        if dtype == np.bool_:  # any byte but 0 is true; an array of them may hold 0 and 1 alone
            return np.not_equal(np.frombuffer(self.base64, np.uint8), 0).reshape(self.shape)
        found: NDArray[Any] = np.frombuffer(self.base64, dtype)
        return found.reshape(self.shape)
