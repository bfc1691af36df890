"""
Images against torch: volumes, filters that the model computes, antialiasing, places that a grid names.
"""

import itertools
import warnings

import torch
from torch import nn
from torch.nn import functional

from tests.frontends.test_torch_export import compare
from tests.frontends.test_torch_export_errors import Applied, refused
from tests.frontends.test_torch_export_ops import check_functions

VOLUMES = torch.randn(2, 4, 7, 6, 5)
IMAGES = torch.randn(2, 3, 9, 8)


def test_convolutions_of_volumes():
    weight, bias = torch.randn(6, 4, 3, 2, 3), torch.randn(6)
    check_functions(
        [
            lambda x: functional.conv3d(x, weight, bias),
            lambda x: functional.conv3d(x, weight, bias, (2, 1, 3), (1, 0, 2), (2, 1, 1)),
            lambda x: functional.conv3d(x, weight[:, :2], None, padding=1, groups=2),
            lambda x: functional.conv3d(x, weight, padding="same"),
            lambda x: functional.conv3d(x, weight[..., :1, :, :1], stride=(3, 1, 1)),
        ],
        VOLUMES,
    )
    compare(nn.Conv3d(4, 2, 3), (VOLUMES[0],), dynamic=False)


def test_convolutions_of_a_traced_module():
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ConvTranspose2d(4, 2, 3, 2, 1, 1), nn.Flatten(2), nn.Conv1d(2, 3, 5)
    )
    with warnings.catch_warnings(action="ignore"):  # torch advises against TorchScript
        traced = torch.jit.trace(layers.eval(), IMAGES, check_trace=False)
    assert "aten::_convolution" in str(traced.inlined_graph)
    own = torch._convolution
    flags = (False, False, True, True)
    weight = torch.randn(4, 3, 3, 2)
    check_functions(
        [
            lambda x: own(x, weight, None, (1, 2), (1, 0), (1, 1), False, (0, 0), 1, *flags),
            lambda x: own(x, weight[:3], None, (2, 2), (1, 1), (1, 1), True, (1, 0), 1, *flags),
        ],
        IMAGES,
    )


def test_poolings_of_volumes():
    check_functions(
        [
            lambda x: functional.max_pool3d(x, 2),
            lambda x: functional.max_pool3d(x, (3, 2, 2), (2, 1, 2), (1, 1, 0), (2, 1, 1), ceil_mode=True),
            lambda x: functional.avg_pool3d(x, 3, 2, 1, ceil_mode=True),
            lambda x: functional.avg_pool3d(x, (2, 3, 2), (1, 2, 3), (1, 1, 0), count_include_pad=False),
            lambda x: functional.avg_pool3d(x, 2, divisor_override=3),
            lambda x: functional.adaptive_avg_pool3d(x, (3, 1, 2)),
            lambda x: functional.adaptive_max_pool3d(x, (3, 1, 2)),
        ],
        VOLUMES,
    )


def test_norms_of_neighbouring_channels():
    compare(nn.Sequential(nn.LocalResponseNorm(3, 0.1), nn.LocalResponseNorm(2, 2.0), nn.Flatten()), (IMAGES,))


def convolved(x: torch.Tensor, filters: torch.Tensor, groups: int = 1) -> torch.Tensor:
    """
    Each image convolved with filters of its own.
    """
    count, channels, height, width = x.shape
    merged = x.reshape(1, count * channels, height, width)
    found = functional.conv2d(merged, filters.flatten(0, 1), None, 2, (1, 0), groups=count * groups)
    return found.reshape(count, filters.shape[1], *found.shape[2:])


def test_filters_that_the_model_computes():
    base = torch.randn(1, 6, 3, 3, 2)
    check_functions(
        [
            lambda x, y: convolved(x, base * y[:, :, None, None, None]),
            lambda x, y: convolved(x, base[:, :, :1] + y[:, :, None, None, None], groups=3),
            lambda x, y: convolved(base[:, :3, 0].expand(y.shape[0], 3, 3, 2), base * y[:, :, None, None, None]),
        ],
        IMAGES,
        torch.randn(2, 6),
    )
    check_functions(
        [
            lambda x: functional.conv2d(x, x[:, :, 2:4, 1:4], x[0, :2, 0, 0], padding=1, dilation=2),
            lambda x: functional.conv1d(x[:, 0], x[:, 0, :, :3], x[:, 0, 0, 0]),
            lambda x: functional.conv3d(x.unsqueeze(2), x[:, :, None, :2, :2], padding=(1, 0, 0)),
        ],
        IMAGES,
        dynamic=False,
    )


def test_samples_as_channels_of_a_convolution_are_refused():
    weight = torch.ones(2, 3, 1)
    assert "batch" in refused(Applied(lambda x: functional.conv1d(x.t().expand(1, 5, -1), weight)), torch.ones(3, 5))


def test_resizing_with_antialiasing():
    wanted = (((4, 3), False), ((4, 3), True), ((12, 5), False), ((9, 8), False))
    resize = functional.interpolate
    check_functions(
        [
            *(
                lambda x, mode=mode, size=size, aligned=aligned: resize(
                    x, size, mode=mode, align_corners=aligned, antialias=True
                )
                for mode in ("bilinear", "bicubic")
                for size, aligned in wanted
            ),
            lambda x: resize(x, scale_factor=(0.4, 1.3), mode="bilinear", antialias=True),
        ],
        IMAGES,
    )


def test_places_that_a_grid_names():
    check_functions(
        [
            lambda x, grid, choice=choice: functional.grid_sample(x, grid, *choice)
            for choice in itertools.product(("bilinear", "nearest"), ("zeros", "border", "reflection"), (True, False))
        ]
        + [lambda x, grid: functional.affine_grid(grid[:, :2, :3, 0], [grid.shape[0], 3, 4, 5])],
        IMAGES,
        torch.randn(2, 4, 5, 2) * 1.5,
    )


def test_a_grid_of_cubic_weights_is_refused():
    text = refused(Applied(lambda x: functional.grid_sample(x, x[:, :2].movedim(1, -1), "bicubic")), IMAGES)
    assert "grid_sampler_2d" in text
