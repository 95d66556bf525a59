"""What the shipped weights learned from, and what its makers say one may do with it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class DataSet:
    """terms: a sentence; the model card says more."""

    name: str
    terms: str


FER2013: Final = DataSet("FER2013", "FER2013's pictures were collected from the web for research.")
FERPLUS: Final = DataSet("FER+", "FER+'s votes are Microsoft's, under the MIT licence.")
AFFECT7: Final = DataSet("affect7", "affect7's pictures were collected from the web for research.")
DLIB: Final = DataSet(
    "dlib's face recognition network",
    "dlib's network, where training began, is in the public domain (CC0); its faces came from the web.",
)

# By the name of the weights. Heads of one body learned from all that the body learned from.
LEARNED_FROM: Final = {
    "default": (FER2013, FERPLUS, AFFECT7, DLIB),
    "affect7": (FER2013, FERPLUS, AFFECT7, DLIB),
    "ferplus": (FER2013, FERPLUS, DLIB),
    "fer2013": (FER2013, FERPLUS, DLIB),
}
