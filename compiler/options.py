"""
What a user may choose for a build. The text under each field is its documentation; the command line shows the same.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from compiler.errors import BuildError

NONFINITE = ("raise", "propagate")
LANES = (1, 4, 8, 16)
ACTION_KINDS = ("discrete", "box")


@dataclass(frozen=True)
class BuildOptions:
    """
    Options of `compiler.build` and `policyc build`.
    """

    strict: bool = False
    """Refuse what would otherwise be assumed."""
    nonfinite: str = "raise"
    """`raise`: an observation with NaN or infinity raises ValueError. `propagate`: compute with it, as PyTorch does."""
    allow_nonfinite_weights: bool = False
    """Compile a checkpoint whose weights hold NaN or infinity."""
    lanes: int = 16
    """float32 values per SIMD register that kernels are written for: 16 (AVX-512; split in two elsewhere), 8, 4, 1."""
    verify_observations: int = 1000
    """How many random observations the build compares, besides the special ones."""
    with_value: bool = False
    """Compile the value network as well: `value(observation)` gives the critic's estimate."""
    vecnormalize: str | None = None
    """The file that VecNormalize.save() wrote in training; its observation statistics are compiled in."""
    activation: str | None = None
    """For a bare policy.pth: the activation between layers, as torch.nn names it: `Tanh`, `ReLU`, `LeakyReLU(0.2)`."""
    observation_shape: tuple[int, ...] | None = None
    """For a bare policy.pth: the shape of one observation."""
    observation_dtype: str | None = None
    """For a bare policy.pth: the dtype of the observation space, `float32` unless the policy sees uint8 images."""
    action_kind: str | None = None
    """For a bare policy.pth: `discrete` or `box`."""
    action_low: tuple[float, ...] | None = None
    """For a bare policy.pth: the action space's lower bound, one value for all or one for each action."""
    action_high: tuple[float, ...] | None = None
    """For a bare policy.pth: the action space's upper bound."""
    squash_output: bool | None = None
    """For a bare policy.pth of the PPO family with gSDE: whether the mean is squashed by tanh and rescaled."""
    normalize_images: bool | None = None
    """For a bare policy.pth that sees uint8 images: whether SB3 divided them by 255, as it does by default."""
    clip_mean: float | None = None
    """For a bare policy.pth of SAC with gSDE: the bound of the mean, which SB3 sets to 2 by default."""

    def __post_init__(self) -> None:
        for name, allowed in (("nonfinite", NONFINITE), ("lanes", LANES)):
            value = getattr(self, name)
            if value not in allowed:
                raise BuildError("options", f"{name} must be one of {', '.join(map(str, allowed))}, found {value!a}")
        if self.action_kind not in (None, *ACTION_KINDS):
            raise BuildError("options", f"action_kind must be discrete or box, found {self.action_kind!a}")
        if self.verify_observations < 1:
            raise BuildError("options", f"verify_observations must be at least 1, found {self.verify_observations}")

    def given(self) -> dict[str, Any]:
        """
        The options that differ from their defaults, as plain JSON values in a stable order; of a file, its own name.
        """
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        if "vecnormalize" in changed:
            changed["vecnormalize"] = Path(changed["vecnormalize"]).name
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}
