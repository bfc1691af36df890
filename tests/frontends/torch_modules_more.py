"""
More modules: those whose views fold the batch into other dimensions, and those of control and robotics.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.frontends.torch_modules import Made


class Windows(nn.Module):  # type: ignore[misc]
    """
    Attention within shifted windows of an image, with a bias for each distance: a block of Swin.
    """

    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.query_key_value, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        grid = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
        apart = (grid[:, :, None] - grid[:, None]).permute(1, 2, 0) + 1
        self.register_buffer("places", apart[..., 0] * 3 + apart[..., 1])
        self.table = nn.Parameter(torch.zeros(9, 2))

    def forward(self, x: Tensor) -> Tensor:
        count, height, width, channels = x.shape
        y = torch.roll(self.norm(x), (-1, -1), (1, 2)).view(count, height // 2, 2, width // 2, 2, channels)
        y = y.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 4, channels)
        query, key, value = self.query_key_value(y).reshape(-1, 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
        bias = self.table[self.places.view(-1)].view(4, 4, 2).permute(2, 0, 1).unsqueeze(0)
        weights = ((query * 0.5) @ key.transpose(-2, -1) + bias).softmax(-1)
        y = self.out((weights @ value).transpose(1, 2).reshape(-1, 4, channels))
        y = y.view(count, height // 2, width // 2, 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
        return x + torch.roll(y.reshape(count, height, width, channels), (1, 1), (1, 2))


def windows() -> Made:
    return Windows(), (torch.randn(2, 4, 4, 8),)


class Queries(nn.Module):  # type: ignore[misc]
    """
    Learnt queries that attend to what is given, with their weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, kdim=6, vdim=6)
        self.queries = nn.Parameter(torch.randn(3, 8))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        queries = self.queries.unsqueeze(0).expand(x.shape[0], -1, -1)
        outputs, weights = self.attention(queries, x, x)
        return outputs, weights


def queries() -> Made:
    return Queries(), (torch.randn(2, 5, 6),)


class WorldModel(nn.Module):  # type: ignore[misc]
    """
    One step of a recurrent state-space model, with categorical latents, as DreamerV3 has it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.gates = nn.Linear(10, 12), nn.Linear(20, 24, bias=False)
        self.norm, self.posterior = nn.LayerNorm(24, eps=1e-3), nn.Linear(8, 12)

    def forward(self, observation: Tensor, hidden: Tensor, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flat = torch.sign(observation) * torch.log1p(observation.abs())
        x = functional.silu(self.enter(torch.cat((flat, latent), -1)))
        reset, candidate, update = torch.chunk(self.norm(self.gates(torch.cat((x, hidden), -1))), 3, -1)
        candidate, update = torch.tanh(torch.sigmoid(reset) * candidate), torch.sigmoid(update - 1)
        hidden = update * candidate + (1 - update) * hidden
        chances = self.posterior(hidden).view(-1, 3, 4).softmax(-1) * 0.99 + 0.01 / 4
        chosen = functional.one_hot(chances.argmax(-1), 4).float()
        return hidden, chosen.flatten(1), torch.log(chances).flatten(1)


def world_model() -> Made:
    return WorldModel(), (torch.randn(2, 6), torch.randn(2, 8), torch.randn(2, 4))


class Planner(nn.Module):  # type: ignore[misc]
    """
    The encoder and policy prior of TD-MPC2: simplices in the latent, a squashed Gaussian.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.Mish(), nn.Linear(16, 16))
        self.policy = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        latent = self.encoder(x)
        latent = functional.softmax(latent.view(*latent.shape[:-1], -1, 4), dim=-1).view(*latent.shape)
        mean, spread = self.policy(latent).chunk(2, dim=-1)
        return torch.tanh(mean), torch.exp(-10 + 6 * (torch.tanh(spread) + 1)), latent


def planner() -> Made:
    return Planner(), (torch.randn(2, 6),)


class Denoiser(nn.Module):  # type: ignore[misc]
    """
    A block of a diffusion policy: a sequence of actions, conditioned on the step of the diffusion.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block, self.norm, self.film = nn.Conv1d(2, 8, 5, padding=2), nn.GroupNorm(4, 8), nn.Linear(16, 16)
        self.down, self.up = nn.Conv1d(8, 8, 3, 2, 1), nn.ConvTranspose1d(8, 2, 4, 2, 1)

    def forward(self, actions: Tensor, step: Tensor) -> Tensor:
        angles = step[:, None] * torch.exp(torch.arange(8) * -(math.log(10000) / 7))[None, :]
        scale, shift = self.film(torch.cat((angles.sin(), angles.cos()), -1)).unsqueeze(-1).chunk(2, 1)
        x = functional.mish(self.norm(self.block(actions.moveaxis(-1, -2)))) * scale + shift
        return self.up(self.down(x)).moveaxis(-1, -2)


def denoiser() -> Made:
    return Denoiser(), (torch.randn(2, 8, 2), torch.randn(2))


class Frames(nn.Module):  # type: ignore[misc]
    """
    Convolutions over each frame, a GRU over their sequence, and the output at the last frame that counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.look, self.remember, self.head = nn.Conv2d(1, 2, 3), nn.GRU(8, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, frames: Tensor, last: Tensor) -> Tensor:
        count, length = frames.shape[:2]
        seen = functional.relu(self.look(frames.flatten(0, 1))).view(count, length, -1)
        outputs, _ = self.remember(seen)
        return self.head(outputs[torch.arange(count), last])


def frames() -> Made:
    return Frames(), (torch.randn(2, 3, 1, 4, 4), torch.tensor([1, 2]))


class Language(nn.Module):  # type: ignore[misc]
    """
    The next token's logits, from tied embeddings and a causal encoder layer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 16), nn.Embedding(8, 16)
        self.layer, self.head = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), nn.Linear(16, 20, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.words(tokens) + self.places(torch.arange(length))
        return self.head(self.layer(x, src_mask=mask, is_causal=True))[:, -1]


def language() -> Made:
    return Language(), (torch.randint(0, 20, (2, 6)),)


def translator() -> Made:
    return nn.Transformer(16, 2, 1, 1, 32, batch_first=True), (torch.randn(2, 5, 16), torch.randn(2, 3, 16))


def sequence_first() -> Made:
    class First(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            turned = x.transpose(0, 1)
            outputs: Tensor = self.attention(turned, turned, turned, need_weights=False)[0]
            return outputs.transpose(0, 1)

    return First(), (torch.randn(2, 5, 8),)


MORE: dict[str, Callable[[], Made]] = {
    made.__name__: made
    for made in (
        windows,
        queries,
        world_model,
        planner,
        denoiser,
        frames,
        language,
        translator,
        sequence_first,
    )
}
