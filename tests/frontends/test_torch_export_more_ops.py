"""
More of what the frontend translates, against torch: orders, writes by index, arcs, narrow integers, projections.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.errors import UnsupportedError
from tests.frontends.test_torch_export import compare
from tests.frontends.test_torch_export_ops import INTEGERS, X, check_functions

LONG = torch.randn(2, 100)


def test_orders():
    check_functions(
        [
            lambda x: x.topk(65)[0],
            lambda x: x.topk(65, largest=False)[1],
            lambda x: x.sort(-1)[0],
            lambda x: x.argsort(-1, descending=True),
            lambda x: torch.sort(x.round(), dim=-1, stable=True)[1],
            lambda x: torch.sort(x.masked_fill(x > 0, -torch.inf), dim=-1, descending=True, stable=True)[1],
            lambda x: x.median(-1)[0],
            lambda x: x.kthvalue(7, -1)[1],
            lambda x: x.quantile(0.3, -1),
            lambda x: torch.sort(x > 0, dim=-1, stable=True)[1],
        ],
        LONG,
    )


def test_orders_of_dimensions_in_the_middle():
    boundaries = torch.tensor([-1.0, 0.0, 0.5])
    check_functions(
        [
            lambda x: x.sort(1)[1],
            lambda x: x.topk(2, 1)[0],
            lambda x: x.median(1, keepdim=True)[0],
            lambda x: x.cumprod(1),
            lambda x: torch.bucketize(x.round(), boundaries),
            lambda x: torch.bucketize(x.round(), boundaries, right=True),
            lambda x: torch.searchsorted(boundaries, x, side="right"),
            lambda x: torch.cdist(x, x + 1),
            lambda x: torch.cdist(x, x + 1, p=1.0),
            lambda x: x.unfold(2, 3, 2),
            lambda x: x.unfold(1, 2, 1).sum(-1),
        ],
        X,
    )


def test_arcs():
    check_functions(
        [
            torch.atan,
            torch.asinh,
            lambda x: torch.asinh(1e12 * x),
            lambda x: torch.acosh(x.abs() + 1),
            lambda x: torch.atanh(x.tanh() * 0.9),
            lambda x: torch.asin(x.tanh()),
            lambda x: torch.acos(x.tanh()),
            lambda x: torch.acos(x.sign()) + torch.asin(x.sign()),
            lambda x: torch.atan2(x, x.flip(1)),
            lambda x: torch.atan2(x.sign(), x.flip(2).sign() * 0.0),
            lambda x: torch.atan2(x.round() * 0.0, x.flip(1)),
            lambda x: torch.copysign(x, -x.flip(1)),
            lambda x: torch.signbit(x * 0.0),
            lambda x: torch.fmax(x, torch.log(x)),
            lambda x: torch.fmin(torch.log(x), x),
        ],
        X,
    )


def _written(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, [0, 2]] = 1.0
    y[:, [3, 0], [1, 5]] = x[:, 0, :2]
    y[..., -1] += x[..., 0]
    y[:, ::2] *= 2
    y[:, :, 1::3] = x[:, :, :2]
    return y


def _written_where_inputs_say(x: Tensor, n: Tensor) -> Tensor:
    y = x.clone()
    rows = torch.arange(x.shape[0])
    y[rows, n[:, 0, 0] % 4] = 0.0
    y[rows, n[:, 0, 1] % 4, n[:, 0, 2] % 6] += x[:, 1, 1]
    return y


def test_writes():
    twice = torch.tensor([0, 2, 2])
    check_functions(
        [
            lambda x, n: x.index_add(1, twice, x[:, :3]),
            lambda x, n: x.index_add(2, twice, x[..., :3], alpha=2.0),
            lambda x, n: x.index_copy(1, torch.tensor([2, 0]), x[:, 1:3]),
            lambda x, n: x.index_fill(1, torch.tensor([0, 3]), 2.0),
            lambda x, n: functional.fold(x[:, :, :4], (3, 3), 2),
            lambda x, n: x.scatter(2, n[:, :2, :1] % 6, 1.0),
            lambda x, n: x.scatter(2, n[:, :3, :2] % 6, x.flip(1)),
            lambda x, n: x.scatter_add(2, n % 6, x.flip(2)),
            lambda x, n: x.scatter_reduce(2, n % 6, x.flip(2), "amax"),
            lambda x, n: x.scatter_reduce(1, n % 4, x.flip(2), "prod"),
            lambda x, n: _written(x),
            _written_where_inputs_say,
            lambda x, n: functional.embedding_bag(n[:, 0], torch.arange(50.0).view(10, 5), mode="max"),
        ],
        X,
        INTEGERS,
    )


def test_integers_of_few_bits_wrap_around():
    check_functions(
        [
            lambda n: (n * 40).to(torch.uint8).long(),
            lambda n: (n * 40).to(torch.int8).float(),
            lambda n: (n * 9000).to(torch.int16).long(),
            lambda n: (n.to(torch.uint8) * 30 + 5).float(),
            lambda n: (n.float() - 4.7).to(torch.int8),
            lambda n: (n > 3).to(torch.uint8),
            lambda n: (n << 3) + (n >> 1),
        ],
        INTEGERS,
    )


def test_half_precision_within_a_program_is_not_rounded_to():
    class Mixed(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 3).half()
            self.register_buffer("shift", torch.randn(6).bfloat16())

        def forward(self, x: Tensor) -> Tensor:
            normed = (x.float() + self.shift.float()).softmax(-1).to(x.dtype)
            return self.linear(normed)

    compare(Mixed(), (X.half(),))


def test_projections_of_an_lstm():
    class Projected(nn.Module):  # type: ignore[misc]
        def __init__(self, given: bool) -> None:
            super().__init__()
            self.lstm = nn.LSTM(6, 5, 2, proj_size=3, bidirectional=True, batch_first=True)
            self.given = given

        def forward(self, x: Tensor, hidden: Tensor) -> list[Tensor]:
            before = hidden.transpose(0, 1)
            state = (before[..., :3], before) if self.given else None
            outputs, (last, cell) = self.lstm(x, state)
            return [outputs, last.transpose(0, 1), cell.transpose(0, 1)]

    for given in (False, True):
        compare(Projected(given), (X, torch.randn(3, 4, 5)))


def test_poolings_whose_sizes_do_not_divide():
    check_functions(
        [
            lambda x: functional.adaptive_max_pool2d(x, (4, 5)),
            lambda x: functional.adaptive_max_pool2d(x, (2, 8)),
            lambda x: functional.adaptive_max_pool1d(x[:, :, 0], 5),
            lambda x: functional.adaptive_max_pool1d(x[:, :, 0], 11),
            lambda x: functional.avg_pool2d(x, 2, divisor_override=3),
            lambda x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False, divisor_override=5),
        ],
        torch.randn(2, 4, 9, 8),
    )


def test_bilinear_layers():
    module = nn.Bilinear(4, 6, 3)
    compare(module, (torch.randn(3, 4), torch.randn(3, 6)))


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: functional.max_pool1d(x, 2, return_indices=True)[1], "return_indices=False"),
        (lambda x: functional.avg_pool2d(x, 2, ceil_mode=True, divisor_override=3), "ceil_mode"),
        (lambda x: x.scatter(1, x.long(), 0.0, reduce="add").scatter_reduce(1, x.long(), x, "mean"), "amax"),
        (lambda x: torch.searchsorted(x, x), "one dimension"),
    ],
)
def test_what_of_these_is_refused(function, text):
    with pytest.raises(UnsupportedError, match=text):
        check_functions([function], X)
