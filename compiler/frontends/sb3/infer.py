"""
The description of a policy of which only the state dict is there: from names and shapes, from options, from defaults.

What neither names nor options tell is either assumed, with SB3's default, and recorded, or, if the option `strict` is
set, refused; all of it at once.
"""

import math
import re
from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from compiler.errors import BuildError, UnsupportedError
from compiler.frontends.sb3 import activations, actor_critic, sac
from compiler.frontends.sb3.activations import Activation
from compiler.frontends.sb3.check_options import bound, flag
from compiler.frontends.sb3.describe import MOST_DIMENSIONS
from compiler.frontends.sb3.description import DEFAULT_CLIP_MEAN, Description, Family
from compiler.frontends.sb3.findings import Findings
from compiler.ir import Box, Discrete, DType
from compiler.ops import Array
from compiler.options import BuildOptions
from compiler.readers.tensors import TensorFile

KINDS = {"discrete": Discrete, "box": Box}


def infer_policy(
    policy: str, family: Family, file: TensorFile, options: BuildOptions, findings: Findings
) -> tuple[Description, list[str]]:
    """
    The description of a policy, and a sentence for everything in it that was assumed.

    Args:
        policy: the path of its class.
        family: that class's family.
        file: its tensors.
        options: what the user knows of it.
        findings: where to record what is wrong.

    Raises:
        CheckpointError: its first or last layer is missing or damaged.
        UnsupportedError: something can't be known and has no default, or, with `strict`, would have to be assumed.
        BuildError: an option is malformed or does not fit the tensors.
    """
    inference = _Inference(policy, family, file, options, findings)
    findings.raise_all()
    observations = findings.attempt(inference.observation_space)
    actions = findings.attempt(inference.action_space)
    activation = findings.attempt(inference.activation)
    squashed = family.squashed or inference.squash_output()
    clip_mean = inference.clip_mean()
    normalize_images = observations is None or inference.normalize_images(observations)
    findings.raise_all()
    assert observations is not None
    assert actions is not None
    assert activation is not None
    kind = policy.rpartition(".")[2]
    description = Description(kind, observations, actions, activation, normalize_images, squashed, clip_mean)
    return description, inference.assumptions


class _Inference:
    """
    One question after another about one state dict.
    """

    def __init__(
        self, policy: str, family: Family, file: TensorFile, options: BuildOptions, findings: Findings
    ) -> None:
        self.policy = policy.rpartition(".")[2]
        self.family = family
        self.tensors: Mapping[str, Array] = file.tensors
        self.module_paths = file.module_paths
        self.options = options
        self.findings = findings
        self.assumptions: list[str] = []
        self.layers = _layers(family, file)
        matrices = [array for array in self.layers if array.ndim == 2 and 0 not in array.shape]
        if len(matrices) != len(self.layers) or not matrices:
            names = ", ".join(family.layers)
            findings.damaged(f"the layers between observation and action ({names}) are missing or not matrices")
            return
        self.inputs = int(matrices[0].shape[1])
        self.outputs = int(matrices[-1].shape[0])

    def assume(self, what: str, value: str, option: str) -> None:
        """
        Records that something had to be assumed; refuses it under `strict`.
        """
        if self.options.strict:
            self.findings.unsupported(f"the file does not say {what}; pass {option}")
        else:
            self.assumptions.append(f"the file does not say {what}: assumed {value}")

    # The observation.

    def observation_space(self) -> Box:
        """
        A Box of the given shape and dtype; by default flat and float32.
        """
        given = self.options.observation_shape
        shape = (self.inputs,) if given is None else given
        if not shape or len(shape) > MOST_DIMENSIONS or min(shape) < 1 or math.prod(shape) != self.inputs:
            raise BuildError(
                "options", f"--observation-shape {shape} does not fit the {self.inputs} inputs of the policy"
            )
        if given is None:
            self.assume(
                "the shape of an observation", f"a Box({self.inputs},), without bounds", flag("observation_shape")
            )
        elif len(shape) == 3 and self.options.observation_dtype is None:
            self.assume("whether observations are images", "float32, no images", flag("observation_dtype"))
        dtype = _dtype(self.options.observation_dtype or "float32")
        low, high = _limits(dtype)
        return Box(dtype, np.full(shape, low, dtype.numpy), np.full(shape, high, dtype.numpy))

    def normalize_images(self, space: Box) -> bool:
        """
        Whether images are divided by 255.
        """
        if self.options.normalize_images is not None:
            return self.options.normalize_images
        if space.is_image:
            self.assume("whether images were normalised", "divided by 255, SB3's default", flag("normalize_images"))
        return True

    # The action.

    def action_space(self) -> Box | Discrete:
        """
        Discrete or Box, by family and log_std.
        """
        kind = self._action_kind()
        asked = self.options.action_kind
        if asked is not None and KINDS[asked] is not kind:
            raise BuildError("options", f"--action-kind {asked} contradicts the tensors of {self._called(kind)}")
        return self._box() if kind is Box else self._discrete()

    def _called(self, kind: type) -> str:
        return f"{self.policy} with {kind.__name__} actions"

    def _action_kind(self) -> type:
        if self.family is not actor_critic.FAMILY:
            return self.family.action_spaces[0]
        if "log_std" in self.tensors:
            return Box
        if self.options.action_kind is None:
            assumed = f"Discrete({self.outputs}), chosen without action masks"
            self.assume("the kind of the actions", assumed, "--action-kind discrete")
        return Discrete

    def _discrete(self) -> Discrete:
        given = [name for name in ("action_low", "action_high") if getattr(self.options, name) is not None]
        if given:
            raise BuildError("options", f"{' and '.join(map(flag, given))} given for {self._called(Discrete)}")
        return Discrete(self.outputs)

    def _box(self) -> Box:
        low, high = self.options.action_low, self.options.action_high
        if (low is None) != (high is None):
            raise BuildError("options", "--action-low and --action-high belong together; one of them is missing")
        if low is None or high is None:
            low, high = self._unknown_bounds()
        lower, upper = bound("action_low", low, self.outputs), bound("action_high", high, self.outputs)
        if (lower > upper).any():
            raise BuildError("options", "--action-low is above --action-high")
        return Box(DType.FLOAT32, lower.astype(np.float32), upper.astype(np.float32))

    def _unknown_bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        what, advice = "the bounds of the actions", "--action-low and --action-high"
        if self.family.squashed or self.options.squash_output:
            self._refuse(f"the file does not say {what}, to which the output of tanh is rescaled; pass {advice}")
        self.assume(what, "none: actions are not clipped", advice)
        return (-np.inf,), (np.inf,)

    def _refuse(self, text: str) -> NoReturn:
        raise UnsupportedError(self.findings.where, text)

    def squash_output(self) -> bool:
        """
        Whether a policy of the PPO family with gSDE squashes its mean.
        """
        log_std = self.tensors.get("log_std")
        uses_sde = self.family is actor_critic.FAMILY and log_std is not None and log_std.ndim == 2
        given = self.options.squash_output
        if given is not None:
            if given != self.family.squashed and not uses_sde:
                self.findings.contradiction(
                    f"--squash-output {given} contradicts the tensors, which are those of {self.policy} without gSDE"
                )
            return given
        if uses_sde:
            self.assume("whether the mean is squashed", "squash_output=False, SB3's default", flag("squash_output"))
        return False

    def clip_mean(self) -> float:
        """
        The bound of the mean of SAC with gSDE.
        """
        given = self.options.clip_mean
        clipped = self.family is sac.FAMILY and sac.clips_mean([*self.tensors, *self.module_paths])
        if given is not None:
            if not clipped or not 0 < given < np.inf:
                self.findings.contradiction(f"--clip-mean {given} contradicts the tensors")
            return given
        if clipped:
            self.assume("clip_mean", f"{DEFAULT_CLIP_MEAN}, SB3's default", flag("clip_mean"))
        return DEFAULT_CLIP_MEAN

    # Between them.

    def activation(self) -> Activation:
        """
        The activation between layers; of no consequence if the only layer is the last.
        """
        if self.options.activation is not None:
            return activations.from_option(self.options.activation)
        if len(self.layers) > 1:
            assumed = f"{self.family.activation}, SB3's default for {self.policy}"
            self.assume("the activation between layers", assumed, flag("activation"))
        return activations.from_option(self.family.activation)


def _layers(family: Family, file: TensorFile) -> list[Array]:
    """
    The weights between observation and action, in order; gaps are found later.
    """
    found: list[Array] = []
    for prefix in family.layers:
        pattern = re.compile(rf"{re.escape(prefix)}(?:\.(?P<slot>\d{{1,4}}))?\.weight", re.ASCII)
        matches = [match for match in map(pattern.fullmatch, file.tensors) if match is not None]
        matches.sort(key=lambda match: int(match["slot"] or 0))
        found += [file.tensors[match.string] for match in matches]
    return found


def _dtype(name: str) -> DType:
    try:
        return DType(name)
    except ValueError:
        raise BuildError("options", f"--observation-dtype must be one of {', '.join(DType)}; found {name!a}") from None


def _limits(dtype: DType) -> tuple[float, float]:
    """
    The widest bounds of a dtype.
    """
    kind = dtype.numpy.kind
    if kind == "f":
        return -np.inf, np.inf
    if kind == "b":
        return 0, 1
    limits = np.iinfo(dtype.value)
    return int(limits.min), int(limits.max)
