"""How many faces a second each model of the zoo classifies on the CPU, or learns from.

    python benchmarks/models.py [--training] [--models NAME ...] [--seconds 10] [--threads 2]

Builds every architecture with random weights, which are as fast as trained ones, compiles it as the
pipeline does for batches of 64 (`models.classifier`), and runs noise through it for some seconds, after
a first batch that does not count. Prints faces per second of wall time and the processor time of one
face; where others use the machine, the latter is what can be compared.

With --training all layers learn from noise instead, with Adam and without augmentation: faces per second
computed in float32 and with mixed precision (bfloat16), which is the faster one on some networks only.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

BATCH = 64  # faces; the largest batch of models.classifier


def timed(batch: Callable[[], Any], seconds: float) -> tuple[float, float]:
    """Faces per second and milliseconds of processor time a face, after a batch that does not count."""
    batch()
    wall, processor, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < seconds:
        batch()
        count += BATCH
    return count / (time.perf_counter() - wall), (time.process_time() - processor) / count * 1000


def measure(name: str, seconds: float) -> tuple[float, float]:
    """Faces per second that the network classifies, and milliseconds of processor time a face."""
    import keras
    import numpy as np
    import tensorflow as tf

    from models.architectures.registry import build_at_random, get_architecture

    network = build_at_random(get_architecture(name))
    shape = (BATCH, *network.input_shape[1:])
    classify = tf.function(
        lambda pixels: network(tf.cast(pixels, tf.float32), training=False),
        input_signature=[tf.TensorSpec(shape, tf.uint8)],
    )
    faces = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    figures = timed(lambda: classify(faces).numpy(), seconds)
    keras.backend.clear_session()
    return figures


def measure_training(name: str, seconds: float, policy: str) -> float:
    """Faces per second that the network learns from. policy: "float32" or "mixed_bfloat16"."""
    import keras
    import numpy as np

    from models.architectures.registry import build_at_random, get_architecture
    from models.training.fitting import with_class_logits

    keras.config.set_dtype_policy(policy)
    network = with_class_logits(build_at_random(get_architecture(name)))
    # Without XLA, as `models.fitting` trains.
    network.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    random = np.random.default_rng(0)
    faces = random.integers(0, 256, (BATCH, *network.input_shape[1:]), np.uint8)
    targets = np.eye(network.output_shape[-1], dtype=np.float32)[
        random.integers(network.output_shape[-1], size=BATCH)
    ]
    rate, _ = timed(lambda: network.train_on_batch(faces, targets), seconds)
    keras.backend.clear_session()
    return rate


def main() -> None:
    """Print one line a model."""
    from models.architectures.registry import ARCHITECTURES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=ARCHITECTURES, default=[*ARCHITECTURES])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--training", action="store_true")
    arguments = parser.parse_args()
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(arguments.threads)
    if arguments.training:
        policies = ("float32", "mixed_bfloat16")
        print(f"{'model, faces/s':<21}{policies[0]:>16}{policies[1]:>16}")
        for name in arguments.models:
            rates = [measure_training(name, arguments.seconds, policy) for policy in policies]
            print(f"{name:<21}{rates[0]:>16.1f}{rates[1]:>16.1f}", flush=True)
        return
    print(f"{'model':<21}{'faces/s':>9}{'CPU ms/face':>13}")
    for name in arguments.models:
        rate, cost = measure(name, arguments.seconds)
        print(f"{name:<21}{rate:>9.1f}{cost:>13.2f}", flush=True)


if __name__ == "__main__":
    main()
