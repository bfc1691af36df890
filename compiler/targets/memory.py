"""
What firmware needs of a microcontroller's memory for a policy: flash, RAM and stack, read off what the linker makes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from compiler.targets import elf, helpers, thumb, toolchain
from compiler.targets.machines import Triple

_PROGRAM = "needs"


@dataclass(frozen=True)
class Needs:
    """
    Bytes, for one policy that one caller asks.
    """

    code: int
    """Instructions and constants, in flash."""
    weights: int
    """In flash."""
    data: int
    """Variables of the policy itself; in RAM."""
    state: int
    """The struct that the caller owns; in RAM."""
    stack: int | None
    """What the deepest call takes below its caller; None if the code doesn't tell."""
    helpers: tuple[str, ...]
    """Functions that the program's runtime library must have; the figures count those of compiler-rt."""

    @property
    def flash(self) -> int:
        """
        All that stays in flash.
        """
        return self.code + self.weights

    @property
    def ram(self) -> int:
        """
        All that is in RAM while a call runs.
        """
        return self.data + self.state + (self.stack or 0)

    def to_json(self) -> dict[str, object]:
        """
        The figures, for a manifest.
        """
        return {"flash": self.flash, "ram": self.ram, **asdict(self), "helpers": list(self.helpers)}

    def __str__(self) -> str:
        stack = "unknown" if self.stack is None else f"{self.stack:,}"
        flash = f"flash {self.flash:,} bytes (code {self.code:,}, weights {self.weights:,})"
        return f"{flash}, RAM {self.ram:,} bytes (state {self.state:,}, data {self.data:,}, stack {stack})"


COMPUTING = ("predict", "predict_scores")
"""What the names of a policy's functions end in that compute."""


def needs(
    folder: Path, name: str, objects: Sequence[str], triple: Triple, computing: Sequence[str] = COMPUTING
) -> Needs | None:
    """
    Links a program of nothing but a predictor, and measures it.

    Args:
        folder: where the object files and the header lie.
        name: the predictor's name.
        objects: the object files of the kernels and of the interface.
        triple: what they are for.
        computing: what the names of the functions end in that compute.

    Returns:
        The figures; None for what is not a microcontroller.
    """
    if triple.profile != "M":
        return None
    called = helpers.called(folder, objects)
    state = f"{name}__state"
    (folder / f"{_PROGRAM}.c").write_text(f'#include "{name}.h"\n{name}_state {state};\n', "utf-8")
    parts = [*objects, toolchain.compile_c(folder, f"{_PROGRAM}.c", triple)]
    parts += [helpers.compiled(folder, called, triple)] if called else []
    kept = [state, *(f"{name}_{function}" for function in ("reset", *computing, "status_text"))]
    roots = [word for root in kept for word in ("-u", root)]
    toolchain.run(folder, "ld.lld", "--gc-sections", "-e", f"{name}_predict", *roots, *parts, "-o", f"{_PROGRAM}.elf")
    return read(elf.read((folder / f"{_PROGRAM}.elf").read_bytes()), name, called, computing)


def read(program: elf.File, name: str, called: Sequence[str] = (), computing: Sequence[str] = COMPUTING) -> Needs:
    """
    Measures a linked program that has a predictor, and a caller's `NAME__state`, and nothing else.
    """
    loaded = [section for section in program.sections if section.flags & elf.ALLOCATED]
    weights, state = program.symbol(f"{name}__weights").size, program.symbol(f"{name}__state").size
    depths = [thumb.deepest(program, f"{name}_{function}") for function in computing]
    known = [depth for depth in depths if depth is not None]
    return Needs(
        code=sum(section.size for section in loaded if not section.flags & elf.WRITABLE) - weights,
        weights=weights,
        data=sum(section.size for section in loaded if section.flags & elf.WRITABLE) - state,
        state=state,
        stack=max(known) if len(known) == len(depths) else None,
        helpers=tuple(called),
    )
