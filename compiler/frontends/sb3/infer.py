"""
The description of a policy of which only the state dict is there: from names and shapes, from options, from defaults.

What neither names nor options tell is either assumed, with SB3's default, and recorded, or, if the option `strict` is
set, refused; all of it at once.
"""

import re

import numpy as np

from compiler.errors import BuildError
from compiler.frontends.sb3 import activations, actor_critic, ars, heads, infer_spaces, sac, sequential
from compiler.frontends.sb3.activations import Activation
from compiler.frontends.sb3.assumptions import assumed_epsilon
from compiler.frontends.sb3.check_options import flag
from compiler.frontends.sb3.description import (
    DEFAULT_CLIP_MEAN,
    DEFAULT_NORM_EPSILON,
    KINDS,
    Description,
    Family,
)
from compiler.frontends.sb3.evidence import Evidence
from compiler.frontends.sb3.findings import Findings
from compiler.ir import Box, Discrete, Space
from compiler.options import BuildOptions
from compiler.readers.tensors import TensorFile

BY_NAME = {name: kind for kind, name in KINDS.items()}
SLOPES = re.compile(r"\.\d+\.weight$", re.ASCII)
"""The slopes of PReLU: the weight of a module in a sequential network; that of nn.Linear has two dimensions."""


def infer_policy(
    policy: str, file: TensorFile, options: BuildOptions, findings: Findings
) -> tuple[Description, Family, list[str]]:
    """
    The description of a policy, its family, and a sentence for everything in it that was assumed.

    Args:
        policy: the path of a class with these tensors.
        file: its tensors.
        options: what the user knows of it.
        findings: where to record what is wrong.

    Raises:
        CheckpointError: its first or last layer is missing or damaged.
        UnsupportedError: something can't be known and has no default, or, with `strict`, would have to be assumed.
        BuildError: an option is malformed or does not fit the tensors.
    """
    inference = _Inference(policy, file, options, findings)
    findings.raise_all()
    observations = findings.attempt(inference.observation_space)
    actions = findings.attempt(inference.action_space)
    activation = findings.attempt(inference.activation)
    squashed = inference.squash_output()
    clip_mean = inference.clip_mean()
    normalize_images = observations is None or inference.normalize_images(observations)
    use_expln, norm_epsilon, epsilon = inference.use_expln(), inference.norm_epsilon(), inference.epsilon()
    findings.raise_all()
    assert observations is not None
    assert actions is not None
    assert activation is not None
    description = Description(
        kind=inference.policy,
        observation_space=observations,
        action_space=actions,
        activation=activation,
        extractor=inference.extractor,
        normalize_images=normalize_images,
        squash_output=squashed,
        clip_mean=clip_mean,
        norm_epsilon=norm_epsilon,
        use_expln=use_expln,
        noise_layers=inference.noise_layers(),
        quantiles=inference.quantiles,
        masked=inference.family.masked,
        epsilon=epsilon,
    )
    return description, inference.family, inference.assumptions.texts


class _Inference(Evidence):
    """
    One question after another about one state dict.
    """

    # The observation.

    def observation_space(self) -> Space:
        """
        By options and sizes.
        """
        return infer_spaces.observation_space(
            self.extractor, self.inputs, self.channels, self.options, self.assumptions
        )

    def normalize_images(self, space: Space) -> bool:
        """
        Whether images are divided by 255.
        """
        if self.options.normalize_images is not None:
            return self.options.normalize_images
        if isinstance(space, Box) and space.is_image:
            what = "whether images were normalised"
            self.assumptions.add(what, "divided by 255, SB3's default", flag("normalize_images"))
        return True

    # The action.

    def action_space(self) -> Space:
        """
        By family, by log_std or tanh, by options.
        """
        kind = self._action_kind()
        asked = self.options.action_kind
        called = f"{self.policy} with {kind.__name__} actions"
        if asked is not None and BY_NAME[asked] is not kind:
            raise BuildError("options", f"--action-kind {asked} contradicts the tensors of {called}")
        if kind is Box:
            return infer_spaces.box(self.outputs, self.options, self.assumptions, squashed=self._is_squashed())
        self._assume_unmasked()
        return infer_spaces.choices(kind, self.outputs, self.options, called, masked=self.family.masked)

    def _action_kind(self) -> type:
        spaces = self.family.action_spaces
        if len(spaces) == 1:
            return spaces[0]
        if self.family.log_std in self.tensors or self._ends_in_tanh():
            return Box
        asked = BY_NAME.get(self.options.action_kind or "")
        possible = [kind for kind in spaces if kind is not Box or not self.family.log_std]
        if asked in possible:
            return asked
        if asked is None:
            self.assumptions.add("the kind of the actions", f"Discrete({self.outputs})", "--action-kind")
        return Discrete

    def _assume_unmasked(self) -> None:
        """
        MaskablePPO's tensors are PPO's.
        """
        if self.family is actor_critic.FAMILY and self.options.masked is None:
            what = "whether the policy takes action masks"
            self.assumptions.add(what, "that it does not", "--masked or --no-masked")

    def _ends_in_tanh(self) -> bool:
        return self.family is ars.FAMILY and bool(ars.ends_in_tanh(self.tensors, self.module_paths))

    def _is_squashed(self) -> bool:
        """
        Whether bounds are needed.
        """
        given = self.options.squash_output
        return self.family.squashed or (self._ends_in_tanh() if given is None else given)

    def squash_output(self) -> bool:
        """
        Whether actions are rescaled from [-1, 1]: of the PPO family only with gSDE; of ARS if there is a Tanh.
        """
        log_std = self.tensors.get("log_std")
        open_question = self.family is ars.FAMILY or (log_std is not None and log_std.ndim == 2)
        given = self.options.squash_output
        if given is not None:
            if given != self.family.squashed and not open_question:
                self.findings.contradiction(
                    f"--squash-output {given} contradicts the tensors, which are those of {self.policy} without gSDE"
                )
            return given or self.family.squashed
        if self.family is ars.FAMILY:
            return self._ends_in_tanh()
        if open_question:
            what = "whether the mean is squashed"
            self.assumptions.add(what, "squash_output=False, SB3's default", flag("squash_output"))
        return self.family.squashed

    def clip_mean(self) -> float:
        """
        The bound of the mean of SAC with gSDE.
        """
        given = self.options.clip_mean
        clipped = bool(self.family.mean) and sac.clips_mean(self.names)
        if given is not None:
            if not clipped or not 0 < given < np.inf:
                self.findings.contradiction(f"--clip-mean {given} contradicts the tensors")
            return given
        if clipped:
            self.assumptions.add("clip_mean", f"{DEFAULT_CLIP_MEAN}, SB3's default", flag("clip_mean"))
        return DEFAULT_CLIP_MEAN

    # How it is drawn.

    def use_expln(self) -> bool:
        """
        How gSDE makes standard deviations of log_std.
        """
        log_std = self.tensors.get(self.family.log_std)
        uses_sde = log_std is not None and log_std.ndim == 2
        given = self.options.use_expln
        if given is not None:
            if given and not uses_sde:
                self.findings.contradiction(
                    "--use-expln contradicts the tensors, which are those of a policy without gSDE"
                )
            return given
        if uses_sde:
            what = "how standard deviations are made of log_std"
            self.assumptions.add(what, "use_expln=False, SB3's default", flag("use_expln"))
        return False

    def noise_layers(self) -> bool:
        """
        Whether gSDE's noise has a features extractor of its own.
        """
        prefix = f"{self.family.log_std.removesuffix('log_std')}{heads.NOISE_LAYERS}"
        return any(name == prefix or name.startswith(f"{prefix}.") for name in self.names)

    def epsilon(self) -> float:
        """
        The probability of a random action.
        """
        if self.family.epsilon is not None:
            return assumed_epsilon(self.family.epsilon, self.options, self.findings, self.assumptions)
        if self.options.exploration_rate is not None:
            self.findings.contradiction(f"--exploration-rate contradicts the tensors of {self.policy}")
        return 0.0

    # Between them.

    def norm_epsilon(self) -> float:
        """
        What BatchRenorm adds to the variance.
        """
        given = self.options.batch_norm_eps
        normalised = sequential.is_normalised(self.tensors, sac.LATENT)
        if given is not None:
            if not normalised or not 0 < given < np.inf:
                self.findings.contradiction(f"--batch-norm-eps {given} contradicts the tensors")
            return given
        if normalised:
            self.assumptions.add("batch_norm_eps", f"{DEFAULT_NORM_EPSILON}, SB3's default", flag("batch_norm_eps"))
        return DEFAULT_NORM_EPSILON

    def activation(self) -> Activation:
        """
        The activation between layers; of no consequence if the only layer is the last.
        """
        if self.options.activation is not None:
            return activations.from_option(self.options.activation)
        if any(SLOPES.search(name) and array.ndim == 1 for name, array in self.tensors.items()):
            return activations.from_option("PReLU")
        if len(self.layers) > 1:
            assumed = f"{self.family.activation}, SB3's default for {self.policy}"
            self.assumptions.add("the activation between layers", assumed, flag("activation"))
        return activations.from_option(self.family.activation)
