"""
Every ATen op that is translated, with the function that does it.
"""

from typing import Any

from compiler.frontends.torch_export import (
    translate_convolutions,
    translate_elementwise,
    translate_functions,
    translate_images,
    translate_layers,
    translate_lookups,
    translate_reductions,
    translate_resizing,
    translate_sequences,
    translate_shapes,
    translate_writes,
)
from compiler.frontends.torch_export.translate_elementwise import Translation

FAMILIES = (
    translate_elementwise,
    translate_functions,
    translate_shapes,
    translate_lookups,
    translate_writes,
    translate_reductions,
    translate_layers,
    translate_convolutions,
    translate_images,
    translate_resizing,
    translate_sequences,
)

TRANSLATIONS: dict[Any, Translation] = {op: made for family in FAMILIES for op, made in family.TRANSLATIONS.items()}
