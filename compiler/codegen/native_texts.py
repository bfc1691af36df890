"""
What the header in C says about parameters and statuses.
"""

from dataclasses import dataclass

from compiler.codegen.inputs import PartView
from compiler.codegen.naming import comment
from compiler.codegen.predictor import PredictorView
from compiler.codegen.results import choices_text, counted


@dataclass(frozen=True)
class StatusView:
    """
    What a call may say.
    """

    name: str
    number: int
    text: str
    """For a person who wants to know why there is no action."""
    note: str
    """What the header adds."""


def statuses(view: PredictorView) -> list[StatusView]:
    """
    Every status; those that a policy never gives are there as well, so that programs need not know which these are.
    """
    never = "Never given by this policy"
    finite = f"{never}, whose observations can't be anything else."
    if not view.checks:
        finite = f"{never}, which computes with NaN and infinity, as PyTorch does."
    elif view.checked:
        finite = "A value of the observation is NaN or infinite" + (", or one of the state." if view.recurrent else ".")
    overflow = "The network's output is NaN or infinite: values of the observation are too large."
    outside = "A choice in the observation is below 0, or too large."
    return [
        StatusView("OK", 0, "ok", "The action is there."),
        StatusView("NOT_FINITE", -2, "the observation must be finite numbers, but holds NaN or infinity", finite),
        StatusView(
            "OVERFLOW",
            -3,
            "the network's output is not finite for this observation: its values are too large",
            overflow if view.checks else f"{never}, which gives what is not finite as it is.",
        ),
        StatusView(
            "OUT_OF_RANGE",
            -4,
            "a choice in the observation is not one of its space",
            outside if view.ranges else f"{never}, which is given no choices.",
        ),
    ]


def described_part(part: PartView) -> str:
    """
    What a part of an observation is, as a caller in C gives it.
    """
    key = f'"{comment(part.key[1:-1])}" of the observation, ' if part.key else ""
    text = _described(part)
    return f"{part.array.name}: {key}{text}."


def _described(part: PartView) -> str:
    count = part.array.count
    match part.kind:
        case "Discrete":
            return f"a choice, 0 to {part.sizes[0] - 1}"
        case "MultiDiscrete":
            return choices_text(part.sizes)
        case "MultiBinary":
            return f"{counted(count, 'value')}, each 0 or 1{_arranged(part.shape)}"
    if part.image:
        layout = ", channel after channel, each row by row" if part.shape.count(",") == 2 else ""
        return f"{count} pixels, 0 to 255, of shape {part.shape}{layout}"
    raw = ", as they are before VecNormalize" if part.array.dtype == "float64" else ""
    return f"{counted(count, 'value')}{_arranged(part.shape)}{raw}"


def _arranged(shape: str) -> str:
    return f", of shape {shape}, row by row" if "," in shape and not shape.endswith(",)") else ""
