"""
Parts of random networks that read images: convolutions and pooling.
"""

import math

from tests.drawn import Drawn


def one_image(g: Drawn, x: str) -> str:
    """
    An image of general models, new or the elements of something else, which seldom look like one.
    """
    return g.given(1, 2, 4, 6) if g.pick(True, False) else g.shaped(x, 4)


def windows(g: Drawn, sides: list[int]) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    """
    A kernel that fits an image, and the stride, padding and dilation of it.
    """
    kernel, dilation = [(g.pick(3, 1, 2), g.pick(3, 1, 2)), (g.pick(1, 1, 2), g.pick(1, 1, 2))]
    reach = [gap * (size - 1) + 1 for size, gap in zip(kernel, dilation, strict=True)]
    least = [max(0, math.ceil((size - side) / 2)) for size, side in zip(reach, sides, strict=True)]
    padding = tuple(max(size, g.pick(0, 1)) for size in least)
    return kernel, {"stride": (g.pick(1, 2), g.pick(1, 2)), "padding": padding, "dilation": dilation}


def convolved_one(g: Drawn, x: str) -> str:
    """
    The convolution of a policy, of one image and one group.
    """
    image = g.shaped(x, 3)
    channels, *sides = g.dims(image)
    window, attributes = windows(g, sides)
    filters = g.pick(2, 3, 8)
    return g.node("conv2d", image, g.weight(filters, channels, *window), g.weight(filters), **attributes)


def convolved(g: Drawn, x: str) -> str:
    image = one_image(g, x)
    _, channels, *sides = g.dims(image)
    window, attributes = windows(g, sides)
    groups = g.pick(*(size for size in range(1, channels + 1) if channels % size == 0))
    filters = groups * g.pick(4, 1, 3, 16)
    weights = g.weight(filters, channels // groups, *window), g.weight(filters)
    return g.node("conv", image, *weights, groups=groups, **attributes)


def convolved_alike(g: Drawn, image: str, filters: int) -> str:
    """
    A convolution that keeps the sides of the image.
    """
    side = g.pick(3, 3, 1)
    weights = g.weight(filters, g.dims(image)[1], side, side), g.weight(filters)
    return g.node("conv", image, *weights, padding=(side // 2, side // 2))


def wide(g: Drawn, x: str) -> str:
    """
    Convolutions of as many channels as it takes for products of transforms to be fewer.
    """
    image = convolved_alike(g, g.given(1, 2, *g.pick((8, 8), (6, 7))), 16)
    if g.pick(True, False):
        image = g.activation(image)
    stride = g.pick((1, 1), (1, 1), (1, 1), (2, 2))
    return g.node("conv", image, g.weight(32, 16, 3, 3), g.weight(32), padding=(1, 1), stride=stride)


def pooled(g: Drawn, x: str) -> str:
    image = one_image(g, x)
    *_, height, width = g.dims(image)
    kernel = (g.size(min(3, height)), g.size(min(3, width)))
    shape = {"kernel": kernel, "stride": (g.size(2), g.size(2)), "padding": (g.pick(0, kernel[0] // 2), 0)}
    match g.pick("max_pool", "avg_pool", "adaptive_avg_pool"):
        case "adaptive_avg_pool":
            return g.node("adaptive_avg_pool", image, size=g.pick((1, 1), (height, 1), (2, 3), (4, 3)))
        case "max_pool":
            return g.node("max_pool", image, **shape, ceil=g.pick(False, True))
        case _:
            return g.node("avg_pool", image, **shape, count_padding=g.pick(True, False))
