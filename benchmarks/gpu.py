"""What a GPU brings: faces a second against the batch, its share of the card's peak, and the way there.

    python -m benchmarks.gpu [--model NAME|FILE] [--peak-tflops N] [--json]

For each batch size: faces a second with the pixels already on the device, and with the copy from the host
included; the difference is the copy's share. The share of the peak is the model's operations a second, as
TensorFlow's profiler counts them, of the float16 peak that the card's maker gives (--peak-tflops). Then
frames a second of the detector. Where there is no GPU it runs on the CPU, only to show that it works.
"""

import json
import time
from dataclasses import replace
from typing import Any, Final

import click
import numpy as np
import tensorflow as tf
from skimage import data

from benchmarks.detection import table
from models.classify.classifier import Classifier, keras_graphs
from models.classify.spec import find_model
from models.detectors import make_detector
from models.gpu import has_gpu

BATCHES: Final = (1, 8, 64, 256, 1024, 4096)
FRAMES: Final = (1, 16, 64)
LEAST_S: Final = 1.0  # of measuring each point


def seconds_each(call: Any) -> float:
    """Mean seconds of a call, after two that warm up."""
    call()
    call()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < LEAST_S:
        call()
        count += 1
    return (time.perf_counter() - started) / count


def operations(graph: Any) -> float:
    """Floating-point operations of a concrete function, a multiplication and an addition being two."""
    from tensorflow.python.profiler import option_builder
    from tensorflow.python.profiler.model_analyzer import profile

    quiet = option_builder.ProfileOptionBuilder(
        option_builder.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    return float(profile(graph.graph, options=quiet.build()).total_float_ops)


def classification(model: str, batches: tuple[int, ...], peak: float | None) -> list[dict[str, Any]]:
    """Faces a second of the classifier in each batch size that fits."""
    # The form that a GPU runs, whatever the file has for CPUs.
    found = find_model(model)
    found = replace(found, spec=replace(found.spec, litert=None))
    spec, graphs = found.spec, keras_graphs(found, in_half=has_gpu())
    points = []
    for size in batches:
        classifier = Classifier(found, size)
        classifier.batch_sizes = (size,)  # on a CPU too
        classifier.warm_up()
        if classifier.batch_sizes != (size,):
            break  # it did not fit
        pixels = np.zeros((size, spec.input_size, spec.input_size, spec.channels), np.uint8)
        graph, on_device = graphs(size), tf.constant(pixels)
        # .numpy() waits for the device; its few probabilities weigh nothing.
        inside = seconds_each(lambda: graph(on_device).numpy())  # noqa: B023
        whole = seconds_each(lambda: classifier.predict(pixels))  # noqa: B023
        flops = operations(graph) / inside
        points.append(
            {
                "batch": size,
                "faces_per_s": size / whole,
                "faces_per_s_on_device": size / inside,
                "copy_share": max(0.0, 1 - inside / whole),
                "tflops": flops / 1e12,
                "share_of_peak": flops / (peak * 1e12) if peak else None,
            }
        )
    return points


def detection(counts: tuple[int, ...]) -> list[dict[str, float]]:
    """Frames a second of the default detector on portraits of 512 x 512 pixels, by frames at a time."""
    detector, frame = make_detector("mtcnn"), data.astronaut()
    return [
        {"frames": count, "frames_per_s": count / seconds_each(lambda: detector.detect([frame] * count))}  # noqa: B023
        for count in counts
    ]


@click.command()
@click.option(
    "--model", default="default", show_default=True, help="A shipped model's name or a .keras file."
)
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, default=BATCHES, show_default=True)
@click.option("--peak-tflops", type=float, help="The card's float16 peak, as its maker gives it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(model: str, batches: tuple[int, ...], peak_tflops: float | None, as_json: bool) -> None:
    """Measure the classifier and the detector on this machine's GPU."""
    gpus = tf.config.list_physical_devices("GPU")
    device = (
        tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else "no GPU"
    )
    faces, frames = classification(model, batches, peak_tflops), detection(FRAMES)
    if as_json:
        click.echo(json.dumps({"device": device, "classifier": faces, "detector": frames}, indent=1))
        return
    click.echo(f"{device}: {model}\n")
    click.echo(table(tuple(faces[0]), [[str(point["batch"]), *list(point.values())[1:]] for point in faces]))
    click.echo("")
    click.echo(table(tuple(frames[0]), [[str(point["frames"]), point["frames_per_s"]] for point in frames]))


if __name__ == "__main__":
    main()
