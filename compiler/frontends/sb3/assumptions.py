"""
What a checkpoint does not say.
"""

from dataclasses import dataclass, field

from compiler.frontends.sb3.findings import Findings
from compiler.options import BuildOptions


@dataclass
class Assumptions:
    """
    What the file does not say and has to be assumed; under `strict` that is refused instead.
    """

    strict: bool
    findings: Findings
    texts: list[str] = field(default_factory=list)
    """A sentence for each."""

    def add(self, what: str, value: str, option: str) -> None:
        """
        Records that something had to be assumed.
        """
        if self.strict:
            self.findings.unsupported(f"the file does not say {what}; pass {option}")
        else:
            self.texts.append(f"the file does not say {what}: assumed {value}")


def assumed_epsilon(default: float, options: BuildOptions, findings: Findings, assumptions: Assumptions) -> float:
    """
    The probability of a random action where the file does not say it.
    """
    given = options.exploration_rate
    if given is None:
        what = "how often a drawn action is random"
        assumptions.add(what, f"{default}, SB3's default of exploration_final_eps", "--exploration-rate")
        return default
    if not 0 <= given <= 1:
        findings.contradiction(f"--exploration-rate {given} is not between 0 and 1")
    return given
