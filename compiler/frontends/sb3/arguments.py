"""
Plain arguments of a policy's constructor, as a checkpoint holds them.
"""

import re

import numpy as np

from compiler.errors import CheckpointError, quote
from compiler.frontends.sb3.description import COMMON_ARGUMENTS, Family
from compiler.frontends.sb3.extractors import ARGUMENTS
from compiler.frontends.sb3.fields import Fields
from compiler.frontends.sb3.findings import Findings
from compiler.frontends.sb3.recurrent import LSTM_ARGUMENTS, REFUSED_LSTM_ARGUMENTS
from compiler.readers.numpy_values import as_scalar
from compiler.readers.pickle_machine import describe, mapping

LONGEST_TEXT = 200


class Arguments:
    """
    Reads plain arguments, and records those that are of the wrong type, or that nothing here knows.
    """

    def __init__(self, fields: Fields, findings: Findings) -> None:
        self.fields = fields
        self.findings = findings

    def check_names(self, family: Family) -> None:
        """
        Records arguments that the policy class does not have: what they do can't be known.
        """
        kind = self.fields.policy.rpartition(".")[2]
        for name in self.fields.arguments:
            if name not in COMMON_ARGUMENTS.keys() | family.arguments:
                self.findings.unsupported(f"{self.path(name)}: not an argument of {kind} that is known")

    def check_extractor(self, extractor: str) -> None:
        """
        Records arguments that SB3's own features extractor does not have.
        """
        for name in self._nested("features_extractor_kwargs"):
            if name not in ARGUMENTS[extractor]:
                where = f"{self.path('features_extractor_kwargs')}.{plain(name)}"
                self.findings.unsupported(f"{where}: not an argument of {extractor} that is known")

    def check_lstm(self) -> None:
        """
        Records arguments that change what the LSTM computes.
        """
        for name, value in self._nested("lstm_kwargs").items():
            where = f"{self.path('lstm_kwargs')}.{plain(name)}"
            if name in REFUSED_LSTM_ARGUMENTS:
                if value:
                    self.findings.unsupported(f"{where}: is not compiled; retrain without it")
            elif name not in LSTM_ARGUMENTS:
                self.findings.unsupported(f"{where}: not an argument of nn.LSTM that is known")

    def _nested(self, name: str) -> dict[object, object]:
        value = self.fields.arguments.get(name)
        where = f"{self.findings.where}: {self.path(name)}"
        return {} if value is None else self.findings.attempt(lambda: mapping(value, where)) or {}

    def flag(self, name: str, default: bool) -> bool:
        """
        A bool argument.
        """
        value = self.flag_if_given(name)
        return default if value is None else value

    def flag_if_given(self, name: str) -> bool | None:
        """
        A bool argument; None if it is not given.
        """
        value = self.fields.arguments.get(name)
        if value is None or isinstance(value, bool):
            return value
        self.findings.damaged(f"{self.path(name)}: expected true or false, found {describe(value)}")
        return None

    def number(self, name: str, default: float) -> float:
        """
        A number argument.
        """
        value = self.fields.arguments.get(name, default)
        number = self.findings.attempt(lambda: finite(value, f"{self.findings.where}: {self.path(name)}"))
        return default if number is None else number

    def path(self, name: str) -> str:
        """
        How messages name an argument.
        """
        return f"{self.fields.origin}.{plain(name)}"

    def shown(self, name: str) -> str:
        """
        What SB3 printed of an argument, which alone names a lambda or a class pickled by value; else what was decoded.
        """
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", self.fields.texts.get(name, ""))
        return quote(text, LONGEST_TEXT) if text else describe(self.fields.arguments.get(name))


def plain(name: object) -> str:
    """
    A key as it stands if it looks like an argument's name, else quoted.
    """
    known = isinstance(name, str) and name.isidentifier() and name.isascii() and len(name) < 60
    return str(name) if known else quote(name)


def finite(value: object, where: str) -> float:
    """
    A finite number from a decoded value.

    Raises:
        CheckpointError: it is something else.
    """
    try:
        number = float(as_scalar(value, where))
    except OverflowError:
        number = np.inf
    if not np.isfinite(number):
        raise CheckpointError(where, f"expected a finite number, found {number}")
    return number
