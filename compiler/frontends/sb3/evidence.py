"""
What names and shapes in a state dict tell of its policy.
"""

import re
from collections.abc import Mapping

from compiler.frontends.sb3 import actor_critic, dqn, recurrent
from compiler.frontends.sb3.assumptions import Assumptions
from compiler.frontends.sb3.check_options import flag
from compiler.frontends.sb3.description import COMBINED, NATURE, Family
from compiler.frontends.sb3.extractors import extractor_of
from compiler.frontends.sb3.families import FAMILIES, MASKED_POLICY, with_extractor
from compiler.frontends.sb3.findings import Findings
from compiler.ops import Array
from compiler.options import BuildOptions
from compiler.readers.tensors import TensorFile

DEFAULT_QUANTILES = 200


class Evidence:
    """
    The structure of a policy of which only the state dict is there.

    Attributes:
        family: the family of the policy.
        policy: the name of its class.
        extractor: its features extractor.
        layers: the matrices between features and action, in order.
        inputs: how many features the first fully connected layer takes.
        channels: how many channels the first convolution takes; 0 if there is none.
        outputs: how many actions, or values of them, the last layer tells apart.
        quantiles: of QRDQN, how many outputs each of them takes.
        assumptions: what had to be assumed.
    """

    def __init__(self, policy: str, file: TensorFile, options: BuildOptions, findings: Findings) -> None:
        self.tensors: Mapping[str, Array] = file.tensors
        self.module_paths = file.module_paths
        self.names = [*file.tensors, *file.module_paths]
        self.options = options
        self.findings = findings
        self.assumptions = Assumptions(options.strict, findings)
        policy = self._masked(policy)
        self.family = FAMILIES[policy]
        self.extractor = self._extractor()
        self.policy = with_extractor(policy, self.extractor).rpartition(".")[2]
        self.quantiles: int | None = None
        self.layers = _layers(self.family, file)
        matrices = [array for array in self.layers if array.ndim == 2 and 0 not in array.shape]
        if len(matrices) != len(self.layers) or not matrices:
            names = ", ".join(self.family.layers)
            findings.damaged(f"the layers between observation and action ({names}) are missing or not matrices")
            return
        first = self._first_matrix(matrices[0])
        self.inputs, self.channels = self._inputs(int(first.shape[1]))
        self.outputs = self._outputs(int(matrices[-1].shape[0]))

    def _first_matrix(self, matrix: Array) -> Array:
        """
        The matrix that meets the features: an LSTM's, or else that of the first layer.
        """
        entry = self.tensors.get(recurrent.ENTRY) if self.family is recurrent.FAMILY else None
        if entry is None or entry.ndim == 2:
            return matrix if entry is None else entry
        self.findings.damaged(f"tensor {recurrent.ENTRY!r} has shape {entry.shape}, which is no matrix")
        return matrix

    def _masked(self, policy: str) -> str:
        """
        The class, or that of MaskablePPO if its tensors may be the same and the user says so.
        """
        if not self.options.masked:
            return policy
        if FAMILIES[policy] is actor_critic.FAMILY and actor_critic.FAMILY.log_std not in self.tensors:
            return MASKED_POLICY
        name = policy.rpartition(".")[2]
        self.findings.contradiction(f"--masked contradicts the tensors, which are those of {name}")
        return policy

    def _extractor(self) -> str:
        prefix = next(
            (name for name in self.family.extractors if any(n.startswith(f"{name}.") for n in self.names)), ""
        )
        self.prefix = prefix
        extractor = extractor_of(prefix, self.names)
        if extractor == COMBINED:
            text = "is a policy of Dict observations, whose parts its tensors alone do not tell"
            self.findings.unsupported(f"{text}; build from the .zip that model.save() writes")
        return extractor

    def _inputs(self, inputs: int) -> tuple[int, int]:
        """
        How many features the first fully connected layer takes, and channels the first convolution.
        """
        if self.extractor != NATURE:
            return inputs, 0
        linear, convolution = (self.tensors.get(f"{self.prefix}.{name}.weight") for name in ("linear.0", "cnn.0"))
        if linear is None or linear.ndim != 2 or convolution is None or convolution.ndim != 4:
            self.findings.damaged(f"the layers of {self.prefix!r} are missing or not those of a {NATURE}")
            return inputs, 0
        return int(linear.shape[1]), int(convolution.shape[1])

    def _outputs(self, rows: int) -> int:
        """
        How many actions, or values of them, the last layer tells apart.
        """
        given = self.options.quantiles
        if self.family is not dqn.QUANTILES:
            if given is not None:
                self.findings.contradiction("--quantiles contradicts the tensors, which are not those of QRDQN")
            return rows
        quantiles = DEFAULT_QUANTILES if given is None else given
        if given is None and rows % quantiles == 0:
            self.assumptions.add("the number of quantiles", f"{quantiles}, SB3's default", flag("quantiles"))
        elif given is None:
            self.findings.unsupported(
                f"the file does not say how many quantiles the last layer's {rows} outputs are; pass --quantiles"
            )
        elif given < 1 or rows % given:
            self.findings.contradiction(f"--quantiles {given} does not divide the {rows} outputs of the last layer")
            return rows
        self.quantiles = quantiles
        return max(1, rows // quantiles)


def _layers(family: Family, file: TensorFile) -> list[Array]:
    """
    The matrices between features and action, in order; gaps are found later.
    """
    found: list[Array] = []
    for prefix in family.layers:
        pattern = re.compile(rf"{re.escape(prefix)}(?:\.(?P<slot>\d{{1,4}}))?\.weight", re.ASCII)
        matches = [match for match in map(pattern.fullmatch, file.tensors) if match is not None]
        matches.sort(key=lambda match: int(match["slot"] or 0))
        # Slopes of PReLU are vectors, and stand behind the first layer.
        learned = [match for match in matches if (match["slot"] or "0") != "0" and file.tensors[match.string].ndim == 1]
        found += [file.tensors[match.string] for match in matches if match not in learned]
    return found
