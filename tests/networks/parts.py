"""
What several architectures are made of.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Made = tuple[nn.Module, tuple[Tensor, ...]]
"""A module, and an example of its inputs with a batch in front."""


@dataclass(frozen=True)
class Network:
    """
    An architecture.
    """

    narrow: Callable[[], Made]
    """Its blocks in small numbers and widths, of small inputs."""
    real: Callable[[], Made]
    """As it was published; inputs may be smaller."""
    batched: bool = True
    """Whether it takes a batch; else the sizes of the example."""


def normed(*layers: nn.Module, channels: int, act: nn.Module | None = None) -> nn.Sequential:
    """
    Layers, a batch norm, and an activation if there is one.
    """
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), *([act] if act is not None else []))


def convolved(channels: int, filters: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """
    A convolution without bias that keeps the size of the image, or divides it by the stride.
    """
    return nn.Conv2d(channels, filters, size, stride, size // 2, groups=groups, bias=False)


def divisible(channels: float, by: int = 8) -> int:
    """
    The multiple of `by` that mobile networks round their widths to: never less than nine tenths of what is wanted.
    """
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


class Excitation(nn.Module):  # type: ignore[misc]
    """
    Scales each channel by what all of the image says of it.
    """

    def __init__(self, channels: int, inner: int, act: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.down, self.up = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
        self.act, self.gate = act, gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.up(self.act(self.down(self.pool(x)))))


def images(count: int, channels: int, size: int) -> tuple[Tensor, ...]:
    """
    An example of square images.
    """
    return (torch.zeros(count, channels, size, size),)
