"""
How a predictor draws its actions, checked: a model file may come from anybody.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from compiler.codegen.interface import Interface, describe
from compiler.codegen.source import python
from compiler.errors import UnsupportedError, quote
from compiler.ir import Box, Discrete, Model, MultiBinary, MultiDiscrete, Sampling, Space, Tensor

SPACES = {
    "categorical": (Discrete, MultiDiscrete, MultiBinary),
    "bernoulli": (MultiBinary,),
    "gaussian": (Box,),
    "state_dependent": (Box,),
    "epsilon_greedy": (Discrete,),
}
"""The action spaces that each way of drawing is for."""
PARAMETERS = {"gaussian": ("std",), "state_dependent": ("latent", "noise_std")}
"""The outputs that a way of drawing needs besides the scores."""


@dataclass(frozen=True)
class SamplingView:
    """
    What the templates see of the way in which actions are drawn.
    """

    kind: str
    squash: bool
    epsilon: float
    start: int
    """What the numbers of a Discrete space's own samples begin with."""
    sizes: tuple[int, ...]
    """How many values each choice has, if there are choices."""
    constant: bool
    """Whether the standard deviations are the same for all observations."""

    @property
    def probable(self) -> bool:
        """
        Whether what is drawn from are probabilities.
        """
        return self.kind in ("categorical", "bernoulli")

    @property
    def bounded(self) -> bool:
        """
        Whether what is drawn is brought within the bounds of a Box.
        """
        return self.kind in ("gaussian", "state_dependent")

    @property
    def even(self) -> bool:
        """
        Whether all choices have the same number of values.
        """
        return len(set(self.sizes)) == 1

    @property
    def sizes_text(self) -> str:
        """
        The numbers of values for a docstring.
        """
        if len(self.sizes) == 1:
            return f"the {self.sizes[0]} values"
        if self.even:
            return f"the {self.sizes[0]} values of each of {len(self.sizes)} choices, side by side"
        return f"the values of {len(self.sizes)} choices, side by side as the logits"

    @property
    def sizes_source(self) -> str:
        """
        The numbers of values as a tuple.
        """
        return python(self.sizes, before=len("SIZES: Final = "))

    @property
    def offers(self) -> list[tuple[str, str, str]]:
        """
        What packages offer that draw in this way: the call, the name, what it gives.
        """
        found = [("distribution(observation)", "distribution", "what predict(..., deterministic=False) draws from")]
        if self.probable:
            found.append(("action_probabilities(observation)", "action_probabilities", "how likely each choice is"))
        elif self.kind == "epsilon_greedy":
            found.append(("q_values(observation)", "q_values", "the return that is expected of each choice"))
        elif self.kind == "state_dependent":
            found.append(("reset_noise()", "reset_noise", "draws the noise anew that explores with the state"))
        return found


def sampling_view(model: Model, interface: Interface) -> SamplingView | None:
    """
    The view of a model's sampling; None if it never draws.

    Raises:
        UnsupportedError: if the outputs are not what its way of drawing needs.
    """
    sampling, space = interface.policy.sampling, interface.policy.action_space
    if sampling is None:
        return None
    scores = model.tensors[interface.scores.tensor]
    sizes = choices_of(space, scores) if sampling.kind in ("categorical", "epsilon_greedy") else ()
    outputs = {output.name: model.tensors[output.tensor] for output in interface.distribution}
    findings = list(_findings(sampling, interface, model.tensors[interface.action.tensor], scores, sizes, outputs))
    if findings:
        raise UnsupportedError(model.origin.file, *findings)
    return SamplingView(
        kind=sampling.kind,
        squash=sampling.squash,
        epsilon=sampling.epsilon,
        start=space.start if isinstance(space, Discrete) else 0,
        sizes=sizes,
        constant=any(tensor.data is not None for tensor in outputs.values()),
    )


def choices_of(space: Space, scores: Tensor) -> tuple[int, ...]:
    """
    How many logits belong to each choice of an action; nothing for actions that are no choices between logits.

    The bits of MaskablePPO are two-way choices; those of PPO have one logit each.
    """
    match space:
        case Discrete(n=n):
            return (n,)
        case MultiDiscrete(nvec=nvec):
            return nvec
        case MultiBinary(shape=shape) if scores.elements == 2 * math.prod(shape):
            return (2,) * math.prod(shape)
        case _:
            return ()


def _findings(
    sampling: Sampling,
    interface: Interface,
    action: Tensor,
    scores: Tensor,
    sizes: tuple[int, ...],
    outputs: dict[str, Tensor],
) -> Iterator[str]:
    space = interface.policy.action_space
    if not isinstance(space, SPACES[sampling.kind]):
        yield f"an action of the space {type(space).__name__} can't be drawn as {sampling.kind}"
        return
    wanted = sum(sizes) if sampling.kind in ("categorical", "epsilon_greedy") else action.elements
    if scores.elements != wanted:
        yield f"to draw as {sampling.kind} takes {wanted} scores, found {describe(scores)}"
    missing = [name for name in PARAMETERS.get(sampling.kind, ()) if name not in outputs]
    if missing:
        yield f"to draw as {sampling.kind} takes the output {', '.join(map(quote, missing))}"
    elif sampling.kind == "gaussian":
        if outputs["std"].fixed_shape != (wanted,):
            yield f"the standard deviations must have the shape {(wanted,)}, found {describe(outputs['std'])}"
    elif sampling.kind == "state_dependent":
        latent, deviations = outputs["latent"], outputs["noise_std"]
        if latent.data is not None or deviations.data is None:
            yield "the latent must be computed, and the standard deviations of the noise constant"
        elif deviations.fixed_shape != (latent.elements, wanted):
            shape = (latent.elements, wanted)
            yield f"the standard deviations of the noise must have the shape {shape}, found {describe(deviations)}"
