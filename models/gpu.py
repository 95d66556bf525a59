"""Whether there is a GPU to compute on, found out without loading TensorFlow where there is none."""

from pathlib import Path
from typing import Final

# What CUDA opens before anything else: NVIDIA's driver, or Windows' where Linux runs inside it. Asking
# TensorFlow takes seconds and half a gigabyte, on every machine without a GPU too.
_DRIVERS: Final = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU; it is imported only where a driver is there."""
    if not any(driver.exists() for driver in _DRIVERS):
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
