"""Around imports that need what an extra brings."""

from contextlib import AbstractContextManager

from schemas.extras import needs_extra


def needs_train_extra() -> AbstractContextManager[None]:
    """Around imports that need what only training and evaluation use."""
    return needs_extra("train", "sklearn", "matplotlib")
