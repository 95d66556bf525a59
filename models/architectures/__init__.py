"""The networks, one file a family, each with what is known of it: size, classes, recipe, source.

Keras is imported where a network is built and not before, so that `affectline models` is quick.
"""

from typing import Final

from models.crop_spec import CropSpec

# All are trained on FER2013's pictures, so all want faces cut out as tightly as these.
FER2013_CROP: Final = CropSpec(scale=0.95)
