"""Questions that only the user can answer, and what happens where nobody is there to be asked."""

from typing import Protocol

from schemas.errors import UsageError


class Ask(Protocol):
    """Puts a question, or raises UsageError where nobody can answer."""

    def __call__(self, situation: str, question: str, instead: str) -> bool:
        """Whether the answer is yes.

        situation: what was found, without a full stop. question: about it. instead: what to do to answer
        beforehand.
        """
        ...


def refuse(situation: str, question: str, instead: str) -> bool:
    """Nobody can answer."""
    raise UsageError(f"{situation}; {instead}.")
