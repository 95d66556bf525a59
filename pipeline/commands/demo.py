"""The bundled clip and where its tables go."""

from pathlib import Path


def clip() -> Path:
    """The clip that comes with the package."""
    return Path(__file__).parent.parent / "data" / "demo.mp4"


def new_folder() -> str:
    """A name below the current folder that is not taken yet."""
    number = 1
    while (folder := Path(f"affectline-demo-{number}")).exists():
        number += 1
    return str(folder)
