"""The files of the saved models in the package, each with its sha256: `sha256sum models/weights/*.keras`."""

from typing import Final

SHA256: Final = {
    "default.keras": "cbfd905772a9362d6cc0ae2a0a9e432ba77dcbe9b6bdebdfad705cbb6cc2deee",
    "fer2013.keras": "c43dc20983e411922bd3435ebe020598b27ba0fffb0f919e7a7d1f400bd81b4a",
}
