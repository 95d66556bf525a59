"""How many faces a second each model of the zoo classifies on the CPU.

    python benchmarks/models.py [--models NAME ...] [--seconds 10] [--threads 2]

Builds every architecture with random weights, which are as fast as trained ones, compiles it as the
pipeline does for batches of 64 (`models.classifier`), and runs noise through it for some seconds, after
a first batch that does not count. Prints faces per second of wall time and the processor time of one
face; where others use the machine, the latter is what can be compared.
"""

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

BATCH = 64  # faces; the largest batch of models.classifier


def measure(name: str, seconds: float) -> tuple[float, float]:
    """Faces per second, and milliseconds of processor time a face."""
    import keras
    import numpy as np
    import tensorflow as tf

    from models.registry import build_at_random, get_architecture

    network = build_at_random(get_architecture(name))
    shape = (BATCH, *network.input_shape[1:])
    classify = tf.function(
        lambda pixels: network(tf.cast(pixels, tf.float32), training=False),
        input_signature=[tf.TensorSpec(shape, tf.uint8)],
    )
    faces = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    classify(faces)
    wall, processor, batches = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < seconds:
        classify(faces).numpy()
        batches += 1
    count = batches * BATCH
    rate, cost = count / (time.perf_counter() - wall), (time.process_time() - processor) / count * 1000
    keras.backend.clear_session()
    return rate, cost


def main() -> None:
    """Print one line a model."""
    from models.registry import ARCHITECTURES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=ARCHITECTURES, default=[*ARCHITECTURES])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(arguments.threads)
    print(f"{'model':<21}{'faces/s':>9}{'CPU ms/face':>13}")
    for name in arguments.models:
        rate, cost = measure(name, arguments.seconds)
        print(f"{name:<21}{rate:>9.1f}{cost:>13.2f}", flush=True)


if __name__ == "__main__":
    main()
