"""The saved models in the package: the file of each, and each file's sha256.

`sha256sum models/weights/*.keras` prints the latter. Models in one file are its heads.
"""

from typing import Final

FILES: Final = {
    "default": "default.keras",
    "fer2013": "ferplus.keras",
    "ferplus": "ferplus.keras",
}

SHA256: Final = {
    "default.keras": "cbfd905772a9362d6cc0ae2a0a9e432ba77dcbe9b6bdebdfad705cbb6cc2deee",
    "ferplus.keras": "b3400db099a1b70bbce25230c83ebb1257bd202a32c23e51c7d93afa04d9fd7a",
}
