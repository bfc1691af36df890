"""
The PyTorch models that are measured: small definitions, random weights. Needs torch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Sentiment(nn.Module):  # type: ignore[misc]
    """
    Words to a class: embedding, LSTM, linear, softmax.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(21, 50)
        self.memory = nn.LSTM(50, 128, batch_first=True)
        self.head = nn.Linear(128, 3)

    def forward(self, sentence: Tensor) -> Tensor:
        """
        The probabilities of the classes.
        """
        outputs, _ = self.memory(self.words(sentence))
        return torch.softmax(self.head(outputs[:, -1]), -1)


class Walker(nn.Module):  # type: ignore[misc]
    """
    The policy of a legged robot, of the sizes of Unitree's H1, which keeps its LSTM's state in buffers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(41, 64)
        self.actor = nn.Sequential(nn.Linear(64, 32), nn.ELU(), nn.Linear(32, 10))
        self.register_buffer("hidden_state", torch.zeros(1, 1, 64))
        self.register_buffer("cell_state", torch.zeros(1, 1, 64))

    def forward(self, observation: Tensor) -> Tensor:
        """
        The targets of the joints.
        """
        targets, hidden, cell = self.step(observation, self.hidden_state, self.cell_state)
        self.hidden_state[:] = hidden
        self.cell_state[:] = cell
        return targets

    def step(self, observation: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        The targets of the joints, and the next state.
        """
        outputs, (hidden, cell) = self.memory(observation.unsqueeze(0), (hidden, cell))
        return self.actor(outputs.squeeze(0)), hidden, cell


class Step(nn.Module):  # type: ignore[misc]
    """
    The same with the state in the caller's hands, for formats that have none of their own.
    """

    def __init__(self, walker: Walker) -> None:
        super().__init__()
        self.walker = walker

    def forward(self, observation: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        What `Walker.step` gives.
        """
        return self.walker.step(observation, hidden, cell)


class Block(nn.Module):  # type: ignore[misc]
    """
    Two convolutions with batch norm, and a way around them.
    """

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters))
        self.second = nn.Sequential(nn.Conv2d(filters, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters))
        self.around: nn.Module = nn.Identity()
        if stride != 1 or channels != filters:
            self.around = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, image: Tensor) -> Tensor:
        """
        An image of `filters` channels.
        """
        return torch.relu(self.second(torch.relu(self.first(image))) + self.around(image))


class Bottleneck(nn.Module):  # type: ignore[misc]
    """
    A convolution between two of single pixels, the last of which has four times the filters, and a way around them.
    """

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        wide = 4 * filters
        self.first = nn.Sequential(nn.Conv2d(channels, filters, 1, bias=False), nn.BatchNorm2d(filters))
        self.second = nn.Sequential(nn.Conv2d(filters, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters))
        self.third = nn.Sequential(nn.Conv2d(filters, wide, 1, bias=False), nn.BatchNorm2d(wide))
        self.around: nn.Module = nn.Identity()
        if stride != 1 or channels != wide:
            self.around = nn.Sequential(nn.Conv2d(channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, image: Tensor) -> Tensor:
        """
        An image of four times `filters` channels.
        """
        inner = torch.relu(self.second(torch.relu(self.first(image))))
        return torch.relu(self.third(inner) + self.around(image))


def resnet(block: Callable[[int, int, int], nn.Module], counts: tuple[int, ...], wider: int) -> nn.Module:
    """
    A ResNet for images of 3 x 224 x 224: so many blocks of 64, 128, 256 and 512 filters, which give `wider` times that.
    """
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    body, channels = [], 64
    for filters, count in zip((64, 128, 256, 512), counts, strict=True):
        for number in range(count):
            body.append(block(channels, filters, 2 if number == 0 and filters > 64 else 1))
            channels = wider * filters
    return nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def lenet() -> nn.Module:
    """
    LeNet-5 with ReLU for images of 28 x 28.
    """
    first = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2)]
    second = [nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()]
    head = [nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
    return nn.Sequential(*first, *second, *head)


def nature() -> nn.Module:
    """
    NatureCNN with a head of six values, for four frames of 84 x 84.
    """
    body = [nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU()]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 6))


@dataclass(frozen=True)
class Program:
    """
    A model, and what it takes.
    """

    title: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    """Of one observation."""
    words: int = 0
    """Observations are whole numbers below this; float32 if it is 0."""
    reach: str = ""
    two_threads: str = ""
    """The same with two threads; empty where nobody needs them."""
    together: int = 0
    """Observations in one call; 0 for one."""
    fixed: bool = False
    """Whether the program takes exactly these, and no other batch."""
    step: Callable[[nn.Module], nn.Module] | None = None
    """What makes a module that takes and returns its state of one that keeps it in buffers."""
    target: str = "numba"
    """Of the build."""
    large: bool = False
    """Whether building it takes long, so that a quick run leaves it out."""


PROGRAMS = {
    "logistic": Program("Logistic regression 784-10", lambda: nn.Linear(784, 10), (784,), reach="all others 10 x"),
    "lenet": Program("LeNet, 28 x 28", lenet, (1, 28, 28), reach="all others 3 x"),
    "sentiment": Program("LSTM sentiment V21 E50 H128 C3, T=20", Sentiment, (20,), 21, "all others 1.8 x"),
    "sentences": Program(
        "LSTM sentiment V21 E50 H128 C3, T=20",
        Sentiment,
        (20,),
        21,
        "all others 1.3 x",
        "all others 1.3 x",
        together=32,
    ),
    "sentences_fixed": Program(
        "LSTM sentiment V21 E50 H128 C3, T=20, batch fixed",
        Sentiment,
        (20,),
        21,
        "all others 1.3 x",
        "all others 1.3 x",
        together=32,
        fixed=True,
    ),
    "nature": Program(
        "NatureCNN, 4 x 84 x 84", nature, (4, 84, 84), reach="all others 1.15 x", two_threads="all others 1.15 x"
    ),
    "walker": Program(
        "Walker of the sizes of Unitree's H1, 41-LSTM 64-32-10, one step of an episode, native",
        Walker,
        (41,),
        reach="all others 10 x",
        together=1,
        fixed=True,
        step=Step,
        target="native",
    ),
    "encoder": Program(
        "Encoder layer d=384, 12 heads, T=128",
        lambda: nn.TransformerEncoderLayer(384, 12, 1536, batch_first=True),
        (128, 384),
        reach="as fast as all others",
        two_threads="as fast as all others",
        large=True,
    ),
    "resnet18": Program(
        "ResNet-18, 3 x 224 x 224",
        lambda: resnet(Block, (2, 2, 2, 2), 1),
        (3, 224, 224),
        reach="all others 1.25 x",
        two_threads="all others 1.25 x",
        large=True,
    ),
    "resnet50": Program(
        "ResNet-50, 3 x 224 x 224",
        lambda: resnet(Bottleneck, (3, 4, 6, 3), 4),
        (3, 224, 224),
        reach="all others 1.25 x",
        two_threads="all others 1.25 x",
        large=True,
    ),
}


def made(program: Program) -> nn.Module:
    """
    A module in evaluation mode, its statistics random too.
    """
    torch.manual_seed(0)
    module = program.make().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, 0, 0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.1)
    return module


def observations(program: Program, count: int) -> Tensor:
    """
    Random observations.
    """
    generator = torch.Generator().manual_seed(1)
    shape = (count, *([program.together] if program.together else []), *program.shape)
    if program.words:
        return torch.randint(0, program.words, shape, generator=generator)
    return torch.randn(shape, generator=generator)
