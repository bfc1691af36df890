"""
Ops that are written in terms of others, where torch has no decomposition, or one that lets the samples of a batch meet.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
BILINEAR, NEAREST = 0, 1
ZEROS, BORDER, REFLECTION = 0, 1, 2


def _grid_sample(x: Tensor, grid: Tensor, interpolation: int, padding: int, align_corners: bool) -> Any:
    """
    Images (N, C, H, W) at the places (N, height, width, 2) of a grid, whose corners are -1 and 1.
    """
    if interpolation not in (BILINEAR, NEAREST):
        return NotImplemented
    columns = _coordinates(grid[..., 0], x.shape[3], padding, align_corners)
    rows = _coordinates(grid[..., 1], x.shape[2], padding, align_corners)
    if interpolation == NEAREST:
        return _looked_up(x, rows.round(), columns.round())
    top, left = rows.floor(), columns.floor()
    down, right = (rows - top).unsqueeze(1), (columns - left).unsqueeze(1)
    above = _looked_up(x, top, left) * (1 - right) + _looked_up(x, top, left + 1) * right
    below = _looked_up(x, top + 1, left) * (1 - right) + _looked_up(x, top + 1, left + 1) * right
    return above * (1 - down) + below * down


def _coordinates(places: Tensor, size: int, padding: int, align_corners: bool) -> Tensor:
    """
    Places from -1 to 1 as places among the elements of an axis.
    """
    found = (places + 1) / 2 * (size - 1) if align_corners else ((places + 1) * size - 1) / 2
    if padding == REFLECTION:
        least, span = (0.0, size - 1) if align_corners else (-0.5, size)
        found = span - ((found - least).remainder(2 * span) - span).abs() + least if span else found * 0
    return found if padding == ZEROS else found.clamp(0, size - 1)


def _looked_up(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """
    The elements at whole places, 0 beyond the image.
    """
    count, channels, height, width = x.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    place = rows.clamp(0, height - 1).long() * width + columns.clamp(0, width - 1).long()
    index = place.reshape(count, 1, -1).expand(-1, channels, -1)
    found = x.reshape(count, channels, -1).gather(2, index).reshape(count, channels, *rows.shape[1:])
    return found * inside.unsqueeze(1)


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {aten.grid_sampler_2d.default: _grid_sample}
