"""
Ops that apply an activation to what they have computed, while they still have it in registers.
"""

from compiler.ops.elementwise import ROWS as ACTIVATIONS
from compiler.ops.table import Array, Attributes, Op, refuse

_ACTIVATIONS = {op.name: op for op in ACTIVATIONS}


class FusedOp(Op):
    """
    An op with the attribute `activation`, the name of an element-wise op or empty, and that op's attributes besides.
    """

    def check_attributes(self, attributes: Attributes) -> None:
        """
        Refuses attributes that neither the row nor its activation declares.
        """
        activation = attributes.get("activation")
        if activation and activation not in _ACTIVATIONS:
            refuse(self.name, f"unknown activation {activation!a}")
        own = {key: value for key, value in attributes.items() if key in self.attributes}
        super().check_attributes(own)
        rest = {key: value for key, value in attributes.items() if key not in self.attributes}
        if activation:
            _ACTIVATIONS[str(activation)].check_attributes(rest)
        elif rest:
            refuse(self.name, f"unknown attributes {sorted(rest)}")


def activate(x: Array, activation: str, parameters: Attributes) -> Array:
    """
    The reference of the activation of a fused op, which may be none.
    """
    result: Array = _ACTIVATIONS[activation].reference(x, **parameters) if activation else x
    return result
