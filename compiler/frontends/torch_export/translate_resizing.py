"""
Resizing of images and signals.
"""

from collections.abc import Sequence
from typing import Any

import torch

from compiler.frontends.torch_export.graph import Graph, Value, dims_of
from compiler.frontends.torch_export.translate_elementwise import Translation
from compiler.frontends.torch_export.translate_images import as_image
from compiler.frontends.torch_export.translate_layers import linear, matmul

aten = torch.ops.aten


def _scales(given: Sequence[float | None] | None, flat: bool) -> tuple[float, float]:
    """
    Factors of height and width as the row has them: 0 where the sizes say it.
    """
    factors = tuple(0.0 if not factor else float(factor) for factor in given or ())
    if not factors:
        return (0.0, 0.0)
    return (0.0, factors[0]) if flat else (factors[0], factors[-1])


def _resized(g: Graph, op: str, x: Value, flat: bool, **attributes: Any) -> Value:
    dims = g.result_dims()
    size = (1, dims[-1]) if flat else tuple(dims[-2:])
    return g.reshape(g.add(op, [as_image(g, x, flat)], size=size, **attributes), dims)


def _nearest(flat: bool) -> Translation:
    def translate(g: Graph, x: Value, size: Any, scale_factors: Sequence[float] | None = None) -> Value:
        return _resized(g, "upsample_nearest", x, flat, scales=_scales(scale_factors, flat))

    return translate


def _nearest_scales(flat: bool) -> Translation:
    def translate(g: Graph, x: Value, size: Any, *scales: float | None) -> Value:
        return _resized(g, "upsample_nearest", x, flat, scales=_scales(scales, flat))

    return translate


def _bilinear(flat: bool) -> Translation:
    def translate(
        g: Graph, x: Value, size: Any, align_corners: bool, scale_factors: Sequence[float] | None = None
    ) -> Value:
        scales = _scales(scale_factors, flat)
        return _resized(g, "upsample_bilinear", x, flat, align_corners=bool(align_corners), scales=scales)

    return translate


def _bilinear_scales(flat: bool) -> Translation:
    def translate(g: Graph, x: Value, size: Any, align_corners: bool, *scales: float | None) -> Value:
        found = _scales(scales, flat)
        return _resized(g, "upsample_bilinear", x, flat, align_corners=bool(align_corners), scales=found)

    return translate


def _antialiased(op: Any) -> Translation:
    """
    A resizing that takes a mean of many elements where it makes images smaller: a linear map along each axis.

    Args:
        op: the overload of torch that takes the size or the scale factors.
    """

    def along(before: int, after: int, align_corners: bool, factor: float | None) -> torch.Tensor:
        """
        The matrix (after, before) of one axis, found by resizing unit vectors.
        """
        unit = torch.eye(before)[None, None]
        size, factors = (None, (1.0, factor)) if factor else ((before, after), None)
        found: torch.Tensor = op(unit, size, align_corners, factors)
        return found[0, 0].mT.contiguous()

    def translate(
        g: Graph, x: Value, size: Any, align_corners: bool, scale_factors: Sequence[float] | None = None
    ) -> Value:
        if not g.result().is_floating_point():
            g.refuse("is compiled for floats only")
        dims, wanted = dims_of(x)[-2:], g.result_dims()[-2:]
        factors = tuple(scale_factors) if scale_factors else (None, None)
        rows, columns = (along(*each[:2], align_corners, each[2]) for each in zip(dims, wanted, factors, strict=True))
        narrow = linear(g, g.floating(x), columns)
        return matmul(g, rows.reshape((1,) * (len(dims_of(x)) - 2) + rows.shape), narrow)

    return translate


TRANSLATIONS: dict[Any, Translation] = {
    aten.upsample_nearest1d.vec: _nearest(True),
    aten.upsample_nearest2d.vec: _nearest(False),
    aten.upsample_nearest1d.default: _nearest_scales(True),
    aten.upsample_nearest2d.default: _nearest_scales(False),
    aten.upsample_linear1d.vec: _bilinear(True),
    aten.upsample_bilinear2d.vec: _bilinear(False),
    aten.upsample_linear1d.default: _bilinear_scales(True),
    aten.upsample_bilinear2d.default: _bilinear_scales(False),
    aten._upsample_bilinear2d_aa.vec: _antialiased(aten._upsample_bilinear2d_aa.vec),
    aten._upsample_bicubic2d_aa.vec: _antialiased(aten._upsample_bicubic2d_aa.vec),
}
