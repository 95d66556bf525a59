"""Networks in LiteRT, which runs them on a CPU without TensorFlow."""

import threading
from typing import Any, Final

import numpy as np

from models.thread_pool import core_count

# Interpreters kept for another call, for each core: the last shapes of input, one after the other.
_KEPT_PER_CORE: Final = 2


class LitertNetwork:
    """A network with one input; may be called from several threads.

    An interpreter computes one batch of one shape at a time, on one core, so each call has its own. Those
    used last are kept: to make one for another shape takes as long as several batches.
    """

    def __init__(self, content: bytes) -> None:
        """Take a .tflite file's content; ValueError, as soon as it is used, for one that is none."""
        self._content = content
        self._idle: list[tuple[tuple[int, ...], Any]] = []  # shape of input and interpreter, last used last
        self._lock = threading.Lock()

    def ends(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """What LiteRT says of the inputs and of the outputs."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=self._content)
        return interpreter.get_input_details(), interpreter.get_output_details()

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The first output for an input of its type, such as uint8 pictures [N, H, W, C]; N may vary."""
        return self.outputs(values)[0]

    def outputs(self, values: np.ndarray) -> list[np.ndarray]:
        """As the call, of all outputs."""
        interpreter = self._take(values.shape) or self._make(values.shape)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
        interpreter.invoke()
        outputs = [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
        with self._lock:
            self._idle.append((values.shape, interpreter))
            del self._idle[: -_KEPT_PER_CORE * core_count()]
        return outputs

    def _take(self, shape: tuple[int, ...]) -> Any | None:
        with self._lock:
            for place, (ready_for, interpreter) in enumerate(self._idle):
                if ready_for == shape:
                    del self._idle[place]
                    return interpreter
        return None

    def _make(self, shape: tuple[int, ...]) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=self._content, num_threads=1)
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], shape, strict=True)
        interpreter.allocate_tensors()
        return interpreter
