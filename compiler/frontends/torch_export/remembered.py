"""
What a module remembers in buffers that `forward` overwrites: the states of its model.

Whatever a buffer's dtype is, its state is float32, as every value of a workspace: counters and flags are cast where
the model begins and ends, so that no target, caller or server knows of states of other kinds.
"""

import torch

from compiler.errors import UnsupportedError, quote
from compiler.ops.ranges import LARGEST


def beginning(name: str, value: torch.Tensor, where: str) -> torch.Tensor:
    """
    What a state begins with, float32, of the buffer's shape.

    Args:
        name: the buffer's name.
        value: what stands in it before the first step.
        where: the file, for messages.

    Raises:
        UnsupportedError: it holds what float32 can't, complex numbers or whole ones beyond 2 ** 24.
    """
    if value.is_complex():
        raise UnsupportedError(where, f"forward overwrites {quote(name)}, which is {value.dtype}: it is not compiled")
    if not value.is_floating_point() and value.numel() and int(value.to(torch.int64).abs().max()) > LARGEST:
        text = f"forward overwrites {quote(name)}, which begins beyond {LARGEST:,}: predictors can't keep it exactly"
        raise UnsupportedError(where, text)
    return value.detach().to("cpu", torch.float32, copy=True).contiguous()
