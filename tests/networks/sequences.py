"""
Text and sequences: convolutions, recurrent classifiers, encoders, a decoder's step.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.networks.parts import Made, Network


class TextCnn(nn.Module):  # type: ignore[misc]
    """
    Convolutions of three widths over embedded words, each pooled over the sentence.
    """

    def __init__(self, words: int, width: int, filters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.convolutions = nn.ModuleList(nn.Conv2d(1, filters, (size, width)) for size in (3, 4, 5))
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(3 * filters, 2)

    def forward(self, words: Tensor) -> Tensor:
        x = self.embedding(words).unsqueeze(1)
        found = [functional.relu(convolve(x)).squeeze(3) for convolve in self.convolutions]
        pooled = [functional.max_pool1d(one, one.shape[2]).squeeze(2) for one in found]
        return self.head(self.dropout(torch.cat(pooled, 1)))


class Recurrent(nn.Module):  # type: ignore[misc]
    """
    Two layers in both directions; the last state of each direction decides.
    """

    def __init__(self, kind: type[nn.RNNBase], words: int, width: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.recurrent = kind(width, hidden, 2, bidirectional=True, batch_first=True, dropout=0.3)
        self.head = nn.Linear(2 * hidden, 4)

    def forward(self, words: Tensor) -> Tensor:
        _, last = self.recurrent(self.embedding(words))
        hidden = last[0] if isinstance(last, tuple) else last
        return self.head(torch.cat((hidden[-2], hidden[-1]), -1))


def tokens(words: int, length: int) -> Tensor:
    """
    An example of sentences in which all words occur that there are rows for.
    """
    return torch.randint(0, words, (2, length)).index_fill(1, torch.tensor([0]), words - 1)


def classifier(kind: type[nn.RNNBase], words: int, width: int, hidden: int, length: int) -> Made:
    """
    A recurrent classifier of sentences.
    """
    return Recurrent(kind, words, width, hidden), (tokens(words, length),)


def text_cnn(words: int, width: int, filters: int, length: int) -> Made:
    """
    A convolutional classifier of sentences.
    """
    return TextCnn(words, width, filters), (tokens(words, length),)


def encoder(width: int, heads: int, depth: int, length: int) -> Made:
    """
    torch.nn's encoder with its norm at the end of every layer.
    """
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True)
    return nn.TransformerEncoder(layer, depth, enable_nested_tensor=False), (torch.zeros(2, length, width),)


class Layer(nn.Module):  # type: ignore[misc]
    """
    A layer of BERT; with `first`, of its successors that norm before they attend.
    """

    def __init__(self, width: int, heads: int, first: bool) -> None:
        super().__init__()
        self.first, self.heads = first, heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out, self.up, self.down = nn.Linear(width, width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)

    def attend(self, x: Tensor, mask: Tensor) -> Tensor:
        """
        Attention as it was written before there was a function for it.
        """
        count, length, width = x.shape
        apart = [
            part(x).view(count, length, self.heads, width // self.heads).permute(0, 2, 1, 3)
            for part in (self.query, self.key, self.value)
        ]
        scores = apart[0] @ apart[1].transpose(-1, -2) / math.sqrt(width // self.heads) + mask
        mixed = functional.softmax(scores, dim=-1) @ apart[2]
        return self.out(mixed.permute(0, 2, 1, 3).contiguous().view(count, length, width))

    def feed(self, x: Tensor) -> Tensor:
        """
        The two linear layers with GELU between them.
        """
        return self.down(functional.gelu(self.up(x)))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.first:
            x = x + self.attend(self.norm1(x), mask)
            return x + self.feed(self.norm2(x))
        x = self.norm1(x + self.attend(x, mask))
        return self.norm2(x + self.feed(x))


class Bert(nn.Module):  # type: ignore[misc]
    """
    Words, places and segments, layers that don't look at padding, and a pooled first token.
    """

    places: Tensor

    def __init__(self, words: int, width: int, heads: int, depth: int, length: int, first: bool) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(words, width, padding_idx=0), nn.Embedding(length, width)
        self.segments, self.norm = nn.Embedding(2, width), nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, heads, first) for _ in range(depth))
        self.pooler, self.head = nn.Linear(width, width), nn.Linear(width, 3)
        self.register_buffer("places", torch.arange(length).unsqueeze(0), persistent=False)

    def forward(self, words: Tensor, segments: Tensor, attended: Tensor) -> tuple[Tensor, Tensor]:
        x = self.words(words) + self.segments(segments) + self.positions(self.places[:, : words.shape[1]])
        mask = (1.0 - attended[:, None, None, :].float()) * torch.finfo(torch.float32).min
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, mask)
        return x, self.head(torch.tanh(self.pooler(x[:, 0])))


def bert(words: int, width: int, heads: int, depth: int, length: int, first: bool) -> Made:
    """
    A classifier of pairs of sentences.
    """
    module = Bert(words, width, heads, depth, length, first)
    return module, (tokens(words, length), torch.ones(2, length, dtype=torch.int64), torch.ones(2, length).bool())


class Cached(nn.Module):  # type: ignore[misc]
    """
    One step of a causal decoder: keys and values of all steps so far stand in buffers, which the step writes to.
    """

    keys: Tensor
    values: Tensor
    steps: Tensor
    cosine: Tensor
    sine: Tensor

    def __init__(self, words: int, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads, self.length = heads, length
        size = width // heads
        self.words, self.norm, self.last = nn.Embedding(words, width), nn.RMSNorm(width), nn.RMSNorm(width)
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, size, bias=False)
        self.value, self.out = nn.Linear(width, size, bias=False), nn.Linear(width, width, bias=False)
        self.head = nn.Linear(width, words, bias=False)
        self.register_buffer("keys", torch.zeros(length, size))
        self.register_buffer("values", torch.zeros(length, size))
        self.register_buffer("steps", torch.zeros(1))
        angles = torch.outer(torch.arange(float(length)), 1 / 100 ** (torch.arange(0, size, 2) / size))
        self.register_buffer("cosine", angles.cos().repeat(1, 2))
        self.register_buffer("sine", angles.sin().repeat(1, 2))

    def rotated(self, x: Tensor, place: Tensor) -> Tensor:
        """
        Queries and keys with the step's number in them.
        """
        first, second = x.chunk(2, -1)
        return x * self.cosine[place] + torch.cat((-second, first), -1) * self.sine[place]

    def forward(self, word: Tensor) -> Tensor:
        place = self.steps.long().clamp(0, self.length - 1)
        x = self.words(word)
        normed = self.norm(x)
        query = self.rotated(self.query(normed).view(self.heads, -1), place)
        here = (torch.arange(self.length) == place).unsqueeze(1)
        self.keys.copy_(torch.where(here, self.rotated(self.key(normed), place), self.keys))
        self.values.copy_(torch.where(here, self.value(normed), self.values))
        seen = (torch.arange(self.length) <= place).unsqueeze(0)
        mixed = functional.scaled_dot_product_attention(query[None], self.keys[None], self.values[None], attn_mask=seen)
        self.steps.add_(1)
        return self.head(self.last(x + self.out(mixed.reshape(1, -1))))


class Given(nn.Module):  # type: ignore[misc]
    """
    The same step with the cache in the caller's hands: taken, and returned with this step behind it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.joined, self.out, self.norm = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count, _, width = x.shape
        query, key, value = (
            part.view(count, 1, self.heads, -1).transpose(1, 2) for part in self.joined(self.norm(x)).chunk(3, -1)
        )
        keys, values = torch.cat((keys, key), 2), torch.cat((values, value), 2)
        mixed = functional.scaled_dot_product_attention(query, keys, values)
        return x + self.out(mixed.transpose(1, 2).reshape(count, 1, width)), keys[:, :, 1:], values[:, :, 1:]


def given(width: int, heads: int, length: int) -> Made:
    """
    A decoder's step whose caller keeps the cache.
    """
    cache = torch.zeros(2, heads, length, width // heads)
    return Given(width, heads), (torch.zeros(2, 1, width), cache, cache.clone())


SEQUENCES = {
    "text_cnn": Network(lambda: text_cnn(20, 8, 5, 12), lambda: text_cnn(5000, 128, 100, 64)),
    "bilstm": Network(lambda: classifier(nn.LSTM, 20, 6, 5, 7), lambda: classifier(nn.LSTM, 5000, 100, 128, 40)),
    "bigru": Network(lambda: classifier(nn.GRU, 20, 6, 5, 7), lambda: classifier(nn.GRU, 5000, 100, 128, 40)),
    "encoder": Network(lambda: encoder(16, 2, 2, 6), lambda: encoder(256, 8, 6, 64)),
    "bert_post": Network(lambda: bert(20, 16, 2, 2, 6, False), lambda: bert(5000, 256, 4, 4, 64, False)),
    "bert_pre": Network(lambda: bert(20, 16, 2, 2, 6, True), lambda: bert(5000, 256, 4, 4, 64, True)),
    "cached_step": Network(
        lambda: (Cached(20, 16, 2, 5), (torch.tensor([19]),)),
        lambda: (Cached(1000, 256, 8, 128), (torch.tensor([999]),)),
        batched=False,
    ),
    "given_cache": Network(lambda: given(16, 2, 5), lambda: given(256, 8, 128)),
}
