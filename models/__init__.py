"""Face detectors and emotion classifiers: build, train, evaluate, load.

Private to affectline.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Final

# Read when TensorFlow is first imported, which happens below this package only.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_BACKEND: Final = "KERAS_BACKEND"


class _KerasOnTensorFlow(MetaPathFinder):
    """Says which backend Keras shall have for as long as Keras is being imported.

    Left in the environment, it would decide for every process that the caller starts.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Keras' own spec, once, with a loader that sets the variable and puts it back."""
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = find_spec("keras")
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_on_tensorflow(module: ModuleType) -> None:
            before = os.environ.get(_BACKEND)
            os.environ[_BACKEND] = "tensorflow"
            try:
                load(module)
            finally:
                if before is None:
                    del os.environ[_BACKEND]
                else:
                    os.environ[_BACKEND] = before

        spec.loader.exec_module = load_on_tensorflow  # type: ignore[method-assign]
        return spec


if "keras" not in sys.modules:
    sys.meta_path.insert(0, _KerasOnTensorFlow())
