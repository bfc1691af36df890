"""
What a user may choose for a build. The text under each field is its documentation; the command line shows the same.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from compiler.errors import BuildError

NONFINITE = ("raise", "propagate")
LANES = (1, 4, 8, 16)
TARGETS = ("numba", "native", "c", "wasm", "exe")
FILES = frozenset({"vecnormalize", "extractor"})
"""The options that name a file."""
SPACE_KINDS = ("box", "discrete", "multi_discrete", "multi_binary")


@dataclass(frozen=True)
class BuildOptions:
    """
    Options of `compiler.build` and `policyc build`.
    """

    target: str = "numba"
    """What is made: `numba`, a Python package that Numba compiles when it is imported; `native`, one with an extension
    module instead; `c`, a library with a header; `wasm`, a WebAssembly and an ES module; `exe`, a static executable."""
    triple: str | None = None
    """What system it is made for, with another target than `numba`: one that `policyc targets` lists; this machine's
    unless given."""
    cpu: str | None = None
    """The processor: `portable`, any of the triple, on x86-64 with kernels for v2, v3 and v4; `native`, this machine's;
    or a name that LLVM knows. `portable` unless given."""
    single_file: bool = False
    """For `c`: one header and one object file, for firmware, instead of libraries."""
    strict: bool = False
    """Refuse what would otherwise be assumed."""
    nonfinite: str = "raise"
    """`raise`: an observation with NaN or infinity raises ValueError. `propagate`: compute with it, as PyTorch does."""
    allow_nonfinite_weights: bool = False
    """Compile a checkpoint whose weights hold NaN or infinity."""
    lanes: int = 16
    """For `numba`: float32 values per SIMD register that kernels are written for: 16 (AVX-512; split in two elsewhere),
    8, 4, 1. All other targets take the registers of their processor."""
    threads: int | None = None
    """How many threads a Python package divides a large batch among, and one observation of a large PyTorch model: as
    many as there are processors unless given. Its answers are the same with any number."""
    verify_observations: int = 1000
    """How many random observations the build compares, besides the special ones."""
    with_value: bool = False
    """Compile the value network as well: `value(observation)` gives the critic's estimate."""
    vecnormalize: str | None = None
    """The file that VecNormalize.save() wrote in training; its observation statistics are compiled in."""
    extractor: str | None = None
    """The .pt2 file of a policy's own features extractor: what torch.export makes of `model.policy.features_extractor`,
    whose code is not in the checkpoint."""
    activation: str | None = None
    """For a bare policy.pth: the activation between layers, as torch.nn names it: `Tanh`, `ReLU`, `LeakyReLU(0.2)`."""
    observation_kind: str | None = None
    """For a bare policy.pth: `box`, `discrete`, `multi_discrete` or `multi_binary`; `box` unless given."""
    observation_sizes: tuple[int, ...] | None = None
    """For a bare policy.pth with discrete or multi_discrete observations: the number of values of each choice."""
    observation_shape: tuple[int, ...] | None = None
    """For a bare policy.pth: the shape of one observation."""
    observation_dtype: str | None = None
    """For a bare policy.pth: the dtype of the observation space, `float32` unless the policy sees uint8 images."""
    action_kind: str | None = None
    """For a bare policy.pth: `discrete`, `box`, `multi_discrete` or `multi_binary`."""
    action_sizes: tuple[int, ...] | None = None
    """For a bare policy.pth with multi_discrete actions: the number of values of each choice."""
    action_low: tuple[float, ...] | None = None
    """For a bare policy.pth: the action space's lower bound, one value for all or one for each action."""
    action_high: tuple[float, ...] | None = None
    """For a bare policy.pth: the action space's upper bound."""
    squash_output: bool | None = None
    """For a bare policy.pth of the PPO family with gSDE, or of ARS: whether actions are squashed and rescaled."""
    normalize_images: bool | None = None
    """For a bare policy.pth that sees uint8 images: whether SB3 divided them by 255, as it does by default."""
    clip_mean: float | None = None
    """For a bare policy.pth of SAC, TQC or CrossQ with gSDE: the bound of the mean, which SB3 sets to 2 by default."""
    use_expln: bool | None = None
    """For a bare policy.pth with gSDE: whether expln instead of exp makes standard deviations, for drawing actions."""
    masked: bool | None = None
    """For a bare policy.pth of the PPO family: whether it is one of MaskablePPO, which takes action masks."""
    quantiles: int | None = None
    """For a bare policy.pth of QRDQN: the number of quantiles, which SB3 sets to 200 by default."""
    batch_norm_eps: float | None = None
    """For a bare policy.pth of CrossQ: what BatchRenorm adds to the variance, which SB3 sets to 0.001 by default."""
    exploration_rate: float | None = None
    """For a bare policy.pth of DQN or QRDQN: the probability of a random action, where actions are drawn."""
    module: str | None = None
    """For a state dict of PyTorch: `package.module:factory`, makes its module and example inputs; needs `trust`."""
    trust: bool = False
    """Execute what a source of PyTorch says, where only that tells what it holds: code, not tensors and known ops."""
    example_shapes: str | None = None
    """For a TorchScript archive: its inputs' shapes, `1,41`, divided by semicolons; `1,20:int64` if not float32."""
    without: tuple[str, ...] | None = None
    """Passes to leave out, by their names (`inspect --json` lists them): to find out which one a fault comes from."""
    longest: int | None = None
    """The largest length of sequences whose length is dynamic: memory is laid out for it. For a PyTorch program or an
    ONNX file that names none, or a larger one."""

    def __post_init__(self) -> None:
        for name, allowed in (("nonfinite", NONFINITE), ("lanes", LANES), ("target", TARGETS)):
            value = getattr(self, name)
            if value not in allowed:
                raise BuildError("options", f"{name} must be one of {', '.join(map(str, allowed))}, found {value!a}")
        for name in ("action_kind", "observation_kind"):
            value = getattr(self, name)
            if value not in (None, *SPACE_KINDS):
                raise BuildError("options", f"{name} must be one of {', '.join(SPACE_KINDS)}, found {value!a}")
        if self.longest is not None and self.longest < 2:
            raise BuildError("options", f"longest must be at least 2, found {self.longest}")
        if self.threads is not None and self.threads < 1:
            raise BuildError("options", f"threads must be at least 1, found {self.threads}")
        if self.verify_observations < 1:
            raise BuildError("options", f"verify_observations must be at least 1, found {self.verify_observations}")

    def given(self) -> dict[str, Any]:
        """
        The options that differ from their defaults, as plain JSON values in a stable order; of a file, its own name.
        """
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        for name in FILES & changed.keys():
            changed[name] = Path(changed[name]).name
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}
