"""
The view of what a predictor is given, and the texts that name it in the sources.
"""

from dataclasses import dataclass

from compiler.codegen.inputs import ArrayView, InputView, PartView
from compiler.codegen.naming import literal
from compiler.codegen.source import tuple_source, unpacked


@dataclass(frozen=True)
class GivenView:
    """
    The parts of an observation, the caller's arrays, and the inputs of the kernels that these become.
    """

    parts: list[PartView]
    arrays: list[ArrayView]
    inputs: list[InputView]
    checks: bool
    """Whether what is not finite is refused."""

    @property
    def dict(self) -> bool:
        """
        Whether an observation is a dict.
        """
        return bool(self.parts[0].key)

    @property
    def part(self) -> PartView:
        """
        The observation, if it is no dict.
        """
        return self.parts[0]

    @property
    def direct(self) -> bool:
        """
        Whether an observation is one row, so that it can be passed on as it is.
        """
        return not self.dict and self.part.flat

    @property
    def kinds(self) -> set[str]:
        """
        How the kernels end that bring inputs into the workspace for one observation.
        """
        return {view.kind for view in self.inputs if view.slot is not None}

    @property
    def block_kinds(self) -> set[str]:
        """
        The same for a block.
        """
        return {view.kind for view in self.inputs if view.block_slot is not None}

    @property
    def names(self) -> str:
        """
        The caller's arrays as arguments.
        """
        return ", ".join(array.name for array in self.arrays)

    @property
    def checked(self) -> list[InputView]:
        """
        The inputs that must be finite.
        """
        return [view for view in self.inputs if view.checked and self.checks]

    @property
    def ranges(self) -> list[InputView]:
        """
        The inputs that are choices.
        """
        return [view for view in self.inputs if view.sizes]

    @property
    def doubles(self) -> bool:
        """
        Whether float64 must be finite.
        """
        return any(view.array.dtype == "float64" for view in self.checked)

    @property
    def part_shapes(self) -> str:
        """
        The parts of a dict observation with their shapes, as a dict.
        """
        items = [f"{part.key}: {part.shape}" for part in self.parts]
        line = "{" + ", ".join(items) + "}"
        return line if len(line) < 100 else "{\n" + "".join(f"    {item},\n" for item in items) + "}"

    @property
    def row_dtypes(self) -> list[str]:
        """
        The dtypes that observations are converted to.
        """
        return sorted({part.array.dtype for part in self.parts if not part.sizes})

    @property
    def labels(self) -> str:
        """
        What messages call the caller's arrays, with the shape of an element, as a tuple of pairs.
        """
        pairs = [f"({part.label}, {part.shape})" for part in self.parts]
        names = {"hidden": "state h, layer", "cell": "state c, layer"}
        for array in self.arrays[len(pairs) :]:
            shape = "arrays[-1].shape[1:]" if array.name in names else "()" if array.count == 1 else f"({array.count},)"
            pairs.append(f"({literal(names.get(array.name, array.name))}, {shape})")
        return tuple_source(pairs, 9, 8)

    @property
    def range_checks(self) -> list[tuple[int, str, str]]:
        """
        Of each part that is made of choices: its place among the arrays, what messages call it, its sizes.
        """
        return [(at, part.label, str(part.sizes)) for at, part in enumerate(self.parts) if part.sizes]

    @property
    def has_box(self) -> bool:
        """
        Whether a part of the observation is no choice.
        """
        return any(not part.sizes for part in self.parts)

    @property
    def has_choices(self) -> bool:
        """
        Whether a part of the observation is a choice.
        """
        return any(part.sizes for part in self.parts)

    @property
    def has_image(self) -> bool:
        """
        Whether a part of the observation is an image.
        """
        return any(part.image for part in self.parts)

    def unpacked(self, views: list[InputView]) -> str:
        """
        The left side of an assignment that names, of all inputs, these; nothing if there are none.
        """
        names = [view.name if view in views else "_" for view in self.inputs]
        return unpacked(names) if views else ""

    @property
    def unpacked_one(self) -> str:
        """
        The inputs that the layers for one observation read, but those for images.
        """
        return self.unpacked([view for view in self.inputs if view.slot is None or not view.images])

    @property
    def unpacked_images(self) -> str:
        """
        The inputs that the layers for images read.
        """
        return self.unpacked([view for view in self.inputs if view.images])

    @property
    def unpacked_block(self) -> str:
        """
        The inputs that the layers for blocks read.
        """
        return self.unpacked([view for view in self.inputs if view.block_slot is not None])

    @property
    def unpacked_arrays(self) -> str:
        """
        The left side of an assignment that gives names to the caller's arrays.
        """
        return unpacked([array.name for array in self.arrays])

    @property
    def pointers(self) -> str:
        """
        Where the inputs of observation `row` begin, as a tuple.
        """
        return tuple_source([view.at("row", "rows") for view in self.inputs], len("return "))

    def addresses(self, names: list[str]) -> str:
        """
        The tuple of the addresses of arrays.
        """
        return tuple_source([f"address({name})" for name in names], len("results = "))

    def tuple_of(self, names: list[str]) -> str:
        """
        The tuple of variables.
        """
        return tuple_source(names, len("    results = "))
