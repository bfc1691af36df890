"""
Policies of model-based reinforcement learning: what acts, of TD-MPC2 and of DreamerV3.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.networks.parts import Made, Network


class Normed(nn.Module):  # type: ignore[misc]
    """
    A linear layer, a layer norm, and Mish or a softmax of each group.
    """

    def __init__(self, inputs: int, outputs: int, group: int = 0) -> None:
        super().__init__()
        self.linear, self.norm, self.group = nn.Linear(inputs, outputs), nn.LayerNorm(outputs), group

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.linear(x))
        if not self.group:
            return functional.mish(x)
        return functional.softmax(x.view(*x.shape[:-1], -1, self.group), -1).view(*x.shape)


class TdMpc(nn.Module):  # type: ignore[misc]
    """
    An observation's latent, the policy's action in it, the latent after this action, its reward and the values that an
    ensemble gives it, as TD-MPC2 has them.
    """

    bins: Tensor

    def __init__(self, observation: int, actions: int, latent: int, hidden: int, bins: int, ensemble: int) -> None:
        super().__init__()
        both = latent + actions
        self.encoder = nn.Sequential(Normed(observation, hidden), Normed(hidden, latent, 8))
        self.dynamics = nn.Sequential(Normed(both, hidden), Normed(hidden, hidden), Normed(hidden, latent, 8))
        self.reward = nn.Sequential(Normed(both, hidden), nn.Linear(hidden, bins))
        self.policy = nn.Sequential(Normed(latent, hidden), Normed(hidden, hidden), nn.Linear(hidden, 2 * actions))
        self.first = nn.Parameter(torch.randn(ensemble, both, hidden) / math.sqrt(both))
        self.second = nn.Parameter(torch.randn(ensemble, hidden, bins) / math.sqrt(hidden))
        self.register_buffer("bins", torch.linspace(-10, 10, bins))

    def expected(self, logits: Tensor) -> Tensor:
        """
        The number that a distribution over bins of symlog stands for.
        """
        found = (functional.softmax(logits, -1) * self.bins).sum(-1, keepdim=True)
        return torch.sign(found) * (torch.exp(torch.abs(found)) - 1)

    def forward(self, observation: Tensor) -> tuple[Tensor, ...]:
        latent = self.encoder(observation)
        mean, spread = self.policy(latent).chunk(2, dim=-1)
        log_std = -10 + 0.5 * (2 - -10) * (torch.tanh(spread) + 1)
        action = torch.tanh(mean)
        both = torch.cat((latent, action), -1)
        hidden = functional.mish(torch.einsum("bi,eih->ebh", both, self.first))
        values = self.expected(torch.einsum("ebh,ehk->ebk", hidden, self.second)).transpose(0, 1)
        best = values.amin(dim=1)
        return action, log_std, self.dynamics(both), self.expected(self.reward(both)), best


class Dreamer(nn.Module):  # type: ignore[misc]
    """
    One step of DreamerV3's policy: an image through the encoder, the recurrent state-space model, the most probable
    latent, the actor. The caller keeps the state.
    """

    def __init__(self, size: int, depth: int, deter: int, hidden: int, groups: int, classes: int, actions: int) -> None:
        super().__init__()
        self.groups, self.classes, self.deter = groups, classes, deter
        layers: list[nn.Module] = []
        channels, left, filters = 3, size, depth
        while left > 4:
            layers += [nn.Conv2d(channels, filters, 4, 2, 1, bias=False), nn.GroupNorm(1, filters, 1e-3), nn.SiLU()]
            channels, left, filters = filters, left // 2, 2 * filters
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        self.enter = nn.Linear(groups * classes + actions, hidden, bias=False)
        self.enter_norm = nn.LayerNorm(hidden, 1e-3)
        self.gates = nn.Linear(hidden + deter, 3 * deter, bias=False)
        self.gates_norm = nn.LayerNorm(3 * deter, 1e-3)
        self.posterior = nn.Linear(deter + channels * left * left, groups * classes)
        self.actor = nn.Sequential(nn.Linear(deter + groups * classes, hidden), nn.SiLU(), nn.Linear(hidden, actions))

    def forward(self, image: Tensor, hidden: Tensor, latent: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = functional.silu(self.enter_norm(self.enter(torch.cat((latent.flatten(1), action), -1))))
        reset, candidate, update = self.gates_norm(self.gates(torch.cat((x, hidden), -1))).split(self.deter, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        hidden = update * candidate + (1 - update) * hidden
        seen = torch.cat((hidden, self.encoder(image - 0.5)), -1)
        logits = self.posterior(seen).unflatten(-1, (self.groups, self.classes))
        chances = 0.99 * functional.softmax(logits, -1) + 0.01 / self.classes
        latent = functional.one_hot(chances.argmax(-1), self.classes).float()
        features = torch.cat((hidden, latent.flatten(1)), -1)
        actions = torch.log(0.99 * functional.softmax(self.actor(features), -1) + 0.01 / action.shape[1])
        return functional.one_hot(actions.argmax(-1), action.shape[1]).float(), hidden, latent


def td_mpc(observation: int, actions: int, latent: int, hidden: int, bins: int, ensemble: int) -> Made:
    """
    The networks of TD-MPC2 that act.
    """
    return TdMpc(observation, actions, latent, hidden, bins, ensemble), (torch.zeros(2, observation),)


def dreamer(size: int, depth: int, deter: int, hidden: int, groups: int, classes: int, actions: int) -> Made:
    """
    The networks of DreamerV3 that act.
    """
    state = [torch.zeros(2, deter), torch.zeros(2, groups, classes), torch.zeros(2, actions)]
    module = Dreamer(size, depth, deter, hidden, groups, classes, actions)
    return module, (torch.zeros(2, 3, size, size), *state)


CONTROL = {
    "td_mpc": Network(lambda: td_mpc(6, 2, 16, 16, 11, 3), lambda: td_mpc(39, 4, 512, 512, 101, 5)),
    "dreamer": Network(lambda: dreamer(16, 4, 12, 10, 3, 4, 3), lambda: dreamer(64, 24, 512, 256, 32, 32, 6)),
}
