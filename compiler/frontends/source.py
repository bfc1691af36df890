"""
What a frontend gives of a source whose own library is at hand: its model, and what asks the library.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from compiler.ir import Model
from compiler.ops import Array

Ask: TypeAlias = Callable[[Sequence[Array]], list[Array]]
"""
What a source answers, computed by the library that it comes from.

It takes the inputs in the model's order, then the states, each with the observations in its first dimension; it gives
the outputs in the model's order, then the states after the step, in the same form.
"""


@dataclass(frozen=True)
class Read:
    """
    A model, and what its source answers.
    """

    model: Model
    ask: Ask
