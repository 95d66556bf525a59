"""How much of each long test is done: AFFECTLINE_TORTURE is a part of the full size, 1 being all of it."""

import os
from typing import Final

_PART: Final = float(os.environ.get("AFFECTLINE_TORTURE", "0.02"))
_LEAST: Final = 3


def scaled(full: int) -> int:
    """So many of `full` that the part asked for is done, and never none."""
    return max(_LEAST, round(full * _PART))
