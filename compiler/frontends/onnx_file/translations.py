"""
Every ONNX op that is translated, with the function that does it.
"""

from compiler.frontends.onnx_file import (
    translate_activations,
    translate_attention,
    translate_einsum,
    translate_elementwise,
    translate_images,
    translate_layers,
    translate_lookups,
    translate_reductions,
    translate_resizing,
    translate_sequences,
    translate_shapes,
)
from compiler.frontends.onnx_file.translate_elementwise import Translation

FAMILIES = (
    translate_elementwise,
    translate_activations,
    translate_shapes,
    translate_lookups,
    translate_reductions,
    translate_layers,
    translate_attention,
    translate_einsum,
    translate_images,
    translate_resizing,
    translate_sequences,
)

TRANSLATIONS: dict[str, Translation] = {op: made for family in FAMILIES for op, made in family.TRANSLATIONS.items()}
