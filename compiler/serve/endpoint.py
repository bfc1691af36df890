"""
What the server needs of a model, whatever its kind.
"""

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from compiler.serve.answers import Answer


class Endpoint(Protocol):
    """
    A model's way from request to answer: question, results, answer. Questions and results are each kind's own.
    """

    spec: dict[str, Any]
    sha256: str
    request_type: Any
    """What msgspec reads a body of JSON as."""
    count: Callable[[int], None]
    """Is told how many observations were computed at once."""

    def answer(self, body: bytes) -> Answer:
        """
        The answer for a body of JSON: all steps at once.
        """

    def answer_in_bytes(self, body: bytes) -> Answer:
        """
        The same for a body of float32.
        """

    def question(self, body: bytes) -> Any:
        """
        What a body of JSON asks.

        Raises:
            RequestError: 400 for what is not JSON, 422 for what is not a request of this model.
        """

    def question_in_bytes(self, body: bytes) -> Any:
        """
        What a body of float32 asks.

        Raises:
            RequestError: 415, if the model takes no such bodies; 422 for another length.
        """

    def compute(self, question: Any) -> Any:
        """
        The results: what the predictor computes.

        Raises:
            RequestError: 422, for what the predictor refuses.
        """

    def result(self, question: Any, results: Any) -> Answer:
        """
        The answer, in the form of the question.

        Raises:
            RequestError: 409 and 503, if a session's state can't be kept.
        """

    def kin(self, question: Any) -> Hashable | None:
        """
        What questions have in common that can share a batch; None for one that can't.
        """

    def join(self, questions: list[Any]) -> Any:
        """
        One question for several of one kin.
        """

    def split(self, results: Any, count: int) -> list[Any]:
        """
        The results of the single questions of a joined one.
        """

    def example(self) -> Any:
        """
        A question of one observation, zeros.
        """
