"""The saved models in the package: the file of each, and each file's sha256.

`sha256sum models/weights/*.keras` prints the latter. Models in one file are its heads.
"""

from typing import Final

FILES: Final = {
    "affect7": "default.keras",
    "default": "default.keras",
    "fer2013": "ferplus.keras",
    "ferplus": "ferplus.keras",
}

SHA256: Final = {
    "default.keras": "e2fa715170343bced321f719cc4d455453bbe4f8910e57a8d58ab5243893b0bc",
    "ferplus.keras": "b3400db099a1b70bbce25230c83ebb1257bd202a32c23e51c7d93afa04d9fd7a",
}
