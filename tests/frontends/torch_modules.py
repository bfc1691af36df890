"""
Modules of the kinds that people export, small, each with an example of its inputs.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Made = tuple[nn.Module, tuple[Tensor, ...]]


def mlp() -> Made:
    module = nn.Sequential(
        nn.Linear(6, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 3), nn.Softmax(-1)
    )
    return module, (torch.randn(3, 6),)


class LeNet(nn.Module):  # type: ignore[misc]
    """
    The classifier of digits, flattened by `view` as in the tutorials.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = x.view(-1, 400)
        x = functional.relu(self.fc2(functional.relu(self.fc1(x))))
        return functional.log_softmax(self.fc3(x), dim=1)


def lenet() -> Made:
    return LeNet(), (torch.randn(2, 1, 28, 28),)


class Residual(nn.Module):  # type: ignore[misc]
    """
    A block of a residual network: written in place, as torchvision does.
    """

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x: Tensor) -> Tensor:
        result = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result += self.downsample(x)
        return self.relu(result)


def resnet() -> Made:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        Residual(8, 12, 1),
        Residual(12, 16, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )
    return module, (torch.randn(2, 3, 32, 32),)


class Depthwise(nn.Module):  # type: ignore[misc]
    """
    The inverted residual of MobileNet, with squeeze and excitation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(4, 16, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.depth = nn.Sequential(nn.Conv2d(16, 16, 5, 1, 2, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.SiLU(), nn.Conv2d(4, 16, 1), nn.Hardsigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(16, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.depth(self.expand(x))
        return x + self.dropout(self.project(inner * self.squeeze(inner)))


def mobilenet() -> Made:
    return Depthwise(), (torch.randn(2, 4, 9, 7),)


class Recurrent(nn.Module):  # type: ignore[misc]
    """
    A classifier of token sequences.
    """

    def __init__(self, kind: type[nn.RNNBase], layers: int, bidirectional: bool, **others: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(21, 10, padding_idx=0)
        self.recurrent = kind(
            10, 8, layers, batch_first=True, bidirectional=bidirectional, dropout=0.3 if layers > 1 else 0.0, **others
        )
        self.classify = nn.Linear(16 if bidirectional else 8, 3)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        outputs, state = self.recurrent(self.embedding(tokens))
        hidden = state[0] if isinstance(state, tuple) else state
        return functional.softmax(self.classify(outputs[:, -1]), dim=-1), hidden.transpose(0, 1)


def _tokens() -> tuple[Tensor, ...]:
    return (torch.randint(0, 21, (3, 7)),)


def lstm() -> Made:
    return Recurrent(nn.LSTM, 1, False), _tokens()


def lstm_deep() -> Made:
    return Recurrent(nn.LSTM, 2, True), _tokens()


def gru() -> Made:
    return Recurrent(nn.GRU, 2, True), _tokens()


def rnn() -> Made:
    return Recurrent(nn.RNN, 2, False, nonlinearity="relu", bias=False), _tokens()


class GivenStates(nn.Module):  # type: ignore[misc]
    """
    One step of a policy that takes its state and returns it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.other = nn.LSTMCell(5, 6), nn.GRUCell(6, 4)

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor, last: Tensor) -> dict[str, Tensor]:
        hidden, cell = self.cell(x, (hidden, cell))
        return {"hidden": hidden, "cell": cell, "last": self.other(hidden, last)}


def cells() -> Made:
    return GivenStates(), tuple(torch.randn(2, size) for size in (5, 6, 6, 4))


def encoder_post() -> Made:
    return nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (torch.randn(2, 6, 16),)


def encoder_pre() -> Made:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=True, activation="gelu")
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), (torch.randn(2, 6, 16),)


class Bert(nn.Module):  # type: ignore[misc]
    """
    Embeddings of words and places, and an encoder that does not look at padding.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(30, 16), nn.Embedding(12, 16)
        self.norm = nn.LayerNorm(16, eps=1e-12)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.classify = nn.Linear(16, 4)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.norm(self.words(tokens) + self.places(places))
        x = x + self.attention(x, x, x, key_padding_mask=~mask, need_weights=False)[0]
        weights = mask.unsqueeze(-1).to(x.dtype)
        return self.classify((x * weights).sum(1) / weights.sum(1).clamp(min=1e-9))


def bert() -> Made:
    return Bert(), (torch.randint(0, 30, (2, 8)), torch.ones(2, 8, dtype=torch.bool))


class Decoder(nn.Module):  # type: ignore[misc]
    """
    Causal attention with shared keys, RMS norm, gated units and rotated places, as language models have them.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(16)
        self.query, self.key, self.value = nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(16, 8)
        self.gate, self.up, self.down = nn.Linear(16, 24), nn.Linear(16, 24), nn.Linear(24, 16, bias=False)
        angles = torch.outer(torch.arange(5.0), 1 / 100 ** (torch.arange(0, 4, 2) / 4))
        self.register_buffer("cosine", angles.cos().repeat(1, 2), persistent=False)
        self.register_buffer("sine", angles.sin().repeat(1, 2), persistent=False)

    def rotated(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * self.cosine + torch.cat((-second, first), dim=-1) * self.sine

    def forward(self, x: Tensor) -> Tensor:
        count, length, _ = x.shape
        normed = self.norm(x)
        query = self.rotated(self.query(normed).view(count, length, 4, 4).transpose(1, 2))
        key = self.rotated(self.key(normed).view(count, length, 2, 4).transpose(1, 2))
        value = self.value(normed).view(count, length, 2, 4).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        x = x + mixed.transpose(1, 2).reshape(count, length, 16)
        return x + self.down(functional.silu(self.gate(x)) * self.up(x))


def decoder() -> Made:
    return Decoder(), (torch.randn(2, 5, 16),)


class Vision(nn.Module):  # type: ignore[misc]
    """
    A transformer of patches with a token for the class.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token, self.places = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(torch.zeros(1, 17, 16))
        self.query_key_value, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 7)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.places
        count, length, width = x.shape
        parts = self.query_key_value(self.norm(x)).reshape(count, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        weights = ((query * (width // 2) ** -0.5) @ key.transpose(-2, -1)).softmax(dim=-1)
        x = x + self.out((weights @ value).transpose(1, 2).reshape(count, length, width))
        return self.head(x[:, 0])


def vision() -> Made:
    return Vision(), (torch.randn(2, 3, 16, 16),)


class UNet(nn.Module):  # type: ignore[misc]
    """
    Down, up by two ways, and what was there before beside it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding="same", dilation=2)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.norm = nn.GroupNorm(2, 4)
        self.last = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.norm(functional.leaky_relu(self.first(x)))
        second = functional.elu(self.second(functional.avg_pool2d(first, 2)))
        nearest = functional.interpolate(second, scale_factor=2)
        smooth = functional.interpolate(self.up(second), size=x.shape[-2:], mode="bilinear", align_corners=False)
        padded = functional.pad(nearest, (1, 1, 0, 0))[..., 1:-1]
        return torch.sigmoid(self.last(torch.cat((padded, smooth, first), dim=1)))


def unet() -> Made:
    return UNet(), (torch.randn(2, 2, 12, 8),)


class TextCnn(nn.Module):  # type: ignore[misc]
    """
    Convolutions of several widths over words, each pooled over the text.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 12)
        self.convolutions = nn.ModuleList(nn.Conv1d(12, 6, width) for width in (2, 3, 4))
        self.classify = nn.Linear(18, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens).permute(0, 2, 1)
        pooled = [functional.relu(convolve(x)).max(dim=2).values for convolve in self.convolutions]
        return self.classify(torch.cat(pooled, dim=1))


def text_cnn() -> Made:
    return TextCnn(), (torch.randint(0, 40, (2, 9)),)


class Dueling(nn.Module):  # type: ignore[misc]
    """
    Two heads of one trunk, with an argmax, as a value network for control has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(5, 12), nn.Mish(), nn.Linear(12, 12), nn.ELU())
        self.value, self.advantage = nn.Linear(12, 1), nn.Linear(12, 4)
        self.log_std = nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        latent = self.trunk(x)
        advantage = self.advantage(latent)
        values = self.value(latent) + advantage - advantage.mean(dim=-1, keepdim=True)
        std = torch.exp(torch.clamp(self.log_std, -5, 2)).expand_as(advantage)
        return values, values.argmax(dim=-1), torch.tanh(advantage) * std


def dueling() -> Made:
    return Dueling(), (torch.randn(2, 5),)


ARCHITECTURES: dict[str, Callable[[], Made]] = {
    made.__name__: made
    for made in (
        mlp,
        lenet,
        resnet,
        mobilenet,
        lstm,
        lstm_deep,
        gru,
        rnn,
        cells,
        encoder_post,
        encoder_pre,
        bert,
        decoder,
        vision,
        unet,
        text_cnn,
        dueling,
    )
}
