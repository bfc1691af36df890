"""
Convolutional classifiers and a segmentation network.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.networks.parts import Excitation, Made, Network, convolved, divisible, images, normed


def vgg(plan: Sequence[int], hidden: int, classes: int, size: int) -> Made:
    """
    VGG with the numbers of filters in `plan`, where 0 is a pooling.
    """
    layers: list[nn.Module] = []
    channels = 3
    for filters in plan:
        if filters:
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
            channels = filters
        else:
            layers.append(nn.MaxPool2d(2, 2))
    flat = channels * 49 if size >= 224 else channels
    pool = nn.AdaptiveAvgPool2d(7 if size >= 224 else 1)
    first = [nn.Linear(flat, hidden), nn.ReLU(inplace=True), nn.Dropout()]
    second = [nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(hidden, classes)]
    return nn.Sequential(*layers, pool, nn.Flatten(), *first, *second), images(2, 3, size)


class Inverted(nn.Module):  # type: ignore[misc]
    """
    An inverted residual: wider, depthwise, excited if wanted, narrower.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        inner: int,
        size: int,
        stride: int,
        act: type[nn.Module],
        excited: nn.Module | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if inner != channels:
            layers.append(normed(convolved(channels, inner, 1), channels=inner, act=act()))
        layers.append(normed(convolved(inner, inner, size, stride, inner), channels=inner, act=act()))
        if excited is not None:
            layers.append(excited)
        layers.append(normed(convolved(inner, filters, 1), channels=filters))
        self.body = nn.Sequential(*layers)
        self.around = stride == 1 and channels == filters

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.around else self.body(x)


def mobilenet_v2(plan: Sequence[tuple[int, int, int, int]], width: float, last: int, size: int) -> Made:
    """
    MobileNetV2: of each stage the expansion, the channels, the blocks and the first stride.
    """
    channels = divisible(32 * width)
    layers: list[nn.Module] = [normed(convolved(3, channels, 3, 2), channels=channels, act=nn.ReLU6(inplace=True))]
    for expansion, wanted, count, stride in plan:
        filters = divisible(wanted * width)
        for place in range(count):
            layers.append(Inverted(channels, filters, channels * expansion, 3, stride if not place else 1, nn.ReLU6))
            channels = filters
    layers.append(normed(convolved(channels, last, 1), channels=last, act=nn.ReLU6(inplace=True)))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(last, 1000 if last > 1000 else 10)]
    return nn.Sequential(*layers, *head), images(2, 3, size)


V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet_v3(plan: Sequence[tuple[int, int, int, bool, bool, int]], last: int, hidden: int, size: int) -> Made:
    """
    MobileNetV3: of each block the kernel, the inner width, the width, whether it is excited, whether it has hard
    swish, and the stride.
    """
    layers: list[nn.Module] = [normed(convolved(3, 16, 3, 2), channels=16, act=nn.Hardswish())]
    channels = 16
    for kernel, inner, filters, excited, swish, stride in plan:
        squeeze = Excitation(inner, divisible(inner / 4), nn.ReLU(), nn.Hardsigmoid()) if excited else None
        act = nn.Hardswish if swish else nn.ReLU
        layers.append(Inverted(channels, filters, inner, kernel, stride, act, squeeze))
        channels = filters
    layers.append(normed(convolved(channels, last, 1), channels=last, act=nn.Hardswish()))
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    head = [nn.Linear(last, hidden), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(hidden, 1000 if hidden > 1000 else 10)]
    return nn.Sequential(*layers, *pool, *head), images(2, 3, size)


V3_SMALL = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


def efficientnet(plan: Sequence[tuple[int, int, int, int, int]], first: int, last: int, size: int) -> Made:
    """
    EfficientNet: of each stage the expansion, the kernel, the stride, the channels and the blocks.
    """
    layers: list[nn.Module] = [normed(convolved(3, first, 3, 2), channels=first, act=nn.SiLU(inplace=True))]
    channels = first
    for expansion, kernel, stride, filters, count in plan:
        for place in range(count):
            squeeze = Excitation(channels * expansion, max(1, channels // 4), nn.SiLU(), nn.Sigmoid())
            step = stride if not place else 1
            layers.append(Inverted(channels, filters, channels * expansion, kernel, step, nn.SiLU, squeeze))
            channels = filters
    layers.append(normed(convolved(channels, last, 1), channels=last, act=nn.SiLU(inplace=True)))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(last, 1000 if last > 1000 else 10)]
    return nn.Sequential(*layers, *head), images(2, 3, size)


B0 = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class Fire(nn.Module):  # type: ignore[misc]
    """
    A narrow layer whose outputs two convolutions look at.
    """

    def __init__(self, channels: int, narrow: int, wide: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, narrow, 1)
        self.one, self.three = nn.Conv2d(narrow, wide, 1), nn.Conv2d(narrow, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.squeeze(x), inplace=True)
        return torch.cat((functional.relu(self.one(x)), functional.relu(self.three(x))), 1)


def squeezenet(plan: Sequence[tuple[int, int]], first: int, classes: int, size: int) -> Made:
    """
    SqueezeNet 1.1; a pair of zeros in the plan is a pooling.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, first, 3, 2), nn.ReLU(inplace=True)]
    channels = first
    for narrow, wide in plan:
        if not narrow:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            continue
        layers.append(Fire(channels, narrow, wide))
        channels = 2 * wide
    head = [nn.Dropout(0.5), nn.Conv2d(channels, classes, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))]
    return nn.Sequential(*layers, *head, nn.Flatten()), images(2, 3, size)


SQUEEZE = ((0, 0), (16, 64), (16, 64), (0, 0), (32, 128), (32, 128), (0, 0), (48, 192), (48, 192), (64, 256), (64, 256))


class Dense(nn.Module):  # type: ignore[misc]
    """
    A layer that sees all layers of its block before it.
    """

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(4 * growth)
        self.conv1, self.conv2 = convolved(channels, 4 * growth, 1), convolved(4 * growth, growth, 3)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv2(functional.relu(self.norm2(self.conv1(functional.relu(self.norm1(x))))))
        return torch.cat((x, new), 1)


def densenet(blocks: Sequence[int], growth: int, first: int, classes: int, size: int) -> Made:
    """
    DenseNet: blocks of as many layers, half of the channels between them.
    """
    stem = normed(nn.Conv2d(3, first, 7, 2, 3, bias=False), channels=first, act=nn.ReLU(inplace=True))
    layers: list[nn.Module] = [stem, nn.MaxPool2d(3, 2, 1)]
    channels = first
    for place, count in enumerate(blocks):
        if place:
            halved = [nn.BatchNorm2d(channels), nn.ReLU(), convolved(channels, channels // 2, 1), nn.AvgPool2d(2, 2)]
            layers += halved
            channels //= 2
        for _ in range(count):
            layers.append(Dense(channels, growth))
            channels += growth
    head = [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers, *head), images(2, 3, size)


class ChannelNorm(nn.LayerNorm):  # type: ignore[misc]
    """
    A layer norm of the channels of an image.
    """

    def forward(self, x: Tensor) -> Tensor:
        turned = x.permute(0, 2, 3, 1)
        return functional.layer_norm(turned, self.normalized_shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


class Next(nn.Module):  # type: ignore[misc]
    """
    A block of ConvNeXt, with its last dimension for the channels in the middle.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width, 1, 1), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(self.depth(x).permute(0, 2, 3, 1))
        return x + self.scale * self.narrow(functional.gelu(self.wide(inner))).permute(0, 3, 1, 2)


def convnext(counts: Sequence[int], widths: Sequence[int], classes: int, size: int) -> Made:
    """
    ConvNeXt: of each stage the number of blocks and the width.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0], eps=1e-6)]
    for place, (count, width) in enumerate(zip(counts, widths, strict=True)):
        if place:
            layers += [ChannelNorm(widths[place - 1], eps=1e-6), nn.Conv2d(widths[place - 1], width, 2, 2)]
        layers += [Next(width) for _ in range(count)]
    head = [nn.AdaptiveAvgPool2d(1), ChannelNorm(widths[-1], eps=1e-6), nn.Flatten(), nn.Linear(widths[-1], classes)]
    return nn.Sequential(*layers, *head), images(2, 3, size)


class UNet(nn.Module):  # type: ignore[misc]
    """
    Two convolutions at each size, down by pooling and up by transposed convolutions.
    """

    def __init__(self, channels: int, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(self._twice(a, b) for a, b in zip((channels, *widths), widths, strict=False))
        backwards = list(reversed(widths))
        pairs = list(itertools.pairwise(backwards))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.merge = nn.ModuleList(self._twice(2 * b, b) for _, b in pairs)
        self.last = nn.Conv2d(widths[0], classes, 1)

    @staticmethod
    def _twice(channels: int, filters: int) -> nn.Sequential:
        first = normed(convolved(channels, filters, 3), channels=filters, act=nn.ReLU(inplace=True))
        return nn.Sequential(first, normed(convolved(filters, filters, 3), channels=filters, act=nn.ReLU(inplace=True)))

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        for place, block in enumerate(self.down):
            x = block(x if not place else functional.max_pool2d(x, 2))
            seen.append(x)
        for up, merge, other in zip(self.up, self.merge, reversed(seen[:-1]), strict=True):
            x = merge(torch.cat((other, up(x)), 1))
        return self.last(x)


def unet(widths: Sequence[int], size: int) -> Made:
    """
    A segmentation of images into two classes.
    """
    return UNet(3, widths, 2), images(2, 3, size)


class Vit(nn.Module):  # type: ignore[misc]
    """
    A vision transformer, its layers those of torch.nn.
    """

    def __init__(self, size: int, patch: int, width: int, depth: int, heads: int, classes: int) -> None:
        super().__init__()
        count = (size // patch) ** 2
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, count + 1, width) / math.sqrt(width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, activation="gelu", batch_first=True, norm_first=True, layer_norm_eps=1e-6
        )
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width, eps=1e-6), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1) + self.places
        return self.head(self.encoder(x)[:, 0])


VISION = {
    "vgg11": Network(
        lambda: vgg((8, 0, 12, 0, 16, 16, 0), 24, 10, 16),
        lambda: vgg((64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0), 512, 10, 32),
    ),
    "mobilenet_v2": Network(
        lambda: mobilenet_v2(((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2)), 0.25, 32, 24),
        lambda: mobilenet_v2(V2, 1.0, 1280, 96),
    ),
    "mobilenet_v3": Network(
        lambda: mobilenet_v3((*V3_SMALL[:1], *V3_SMALL[2:4], (5, 48, 40, True, True, 1)), 48, 32, 32),
        lambda: mobilenet_v3(V3_SMALL, 576, 1024, 96),
    ),
    "efficientnet_b0": Network(
        lambda: efficientnet(((1, 3, 1, 8, 1), (6, 3, 2, 12, 2), (6, 5, 2, 16, 1)), 8, 32, 24),
        lambda: efficientnet(B0, 32, 1280, 64),
    ),
    "squeezenet": Network(
        lambda: squeezenet(((0, 0), (4, 8), (4, 8), (0, 0), (6, 12)), 12, 7, 31),
        lambda: squeezenet(SQUEEZE, 64, 1000, 96),
    ),
    "densenet121": Network(lambda: densenet((2, 3), 6, 12, 5, 32), lambda: densenet((6, 12, 24, 16), 32, 64, 1000, 64)),
    "convnext_tiny": Network(
        lambda: convnext((1, 2), (8, 16), 5, 16), lambda: convnext((3, 3, 9, 3), (96, 192, 384, 768), 1000, 64)
    ),
    "unet": Network(lambda: unet((6, 8, 12), 16), lambda: unet((64, 128, 256, 512, 1024), 64)),
    "vit": Network(
        lambda: (Vit(16, 4, 16, 2, 2, 5), images(2, 3, 16)), lambda: (Vit(64, 8, 384, 12, 6, 1000), images(2, 3, 64))
    ),
}
