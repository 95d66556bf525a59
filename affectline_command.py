"""Where the `affectline` command comes in: under a name that no package of the user's has.

Our packages have everyday names, and a folder called `models` or `pipeline` on the user's PYTHONPATH comes
before installed packages. So ours are loaded first, from beside this file.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_PACKAGES = ("schemas", "models", "transforms", "pipeline")


def main() -> None:
    """Run the command."""
    for name in _PACKAGES:
        folder = Path(__file__).parent / name
        spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])

    from pipeline.cli.main import main as command

    command()
