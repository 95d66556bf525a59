"""What is said of a video of which nothing was lost; whatever else is said of one makes it `partial`."""

from typing import Final

OTHER_PICTURES: Final = "The file holds other moving pictures (angles or programs), which were not read."

REMARKS: Final = frozenset((OTHER_PICTURES,))
