"""Ways to run a saved classifier, side by side: how fast each is and how far its answers move.

    python -m benchmarks.export --data fer2013.parquet [--model NAME] [--json]

Needs `onnxruntime`, `tf2onnx` and `ai-edge-litert` beside affectline. Two networks are tried: the saved
model, and an untrained residual network (a 3x3 stem of 32 filters, then basic blocks of 64, 128 and 256
filters, each halving the picture). Pictures are those of PublicTest, in batches of 64, on two threads.

Each way takes its turn in every round, so that a machine busy with other work slows all alike. `faces_s`
is by the clock in the best round; `faces_cpu_s` is by processor time over all rounds, and needs no idle
machine: on two free cores a way that uses both reaches up to twice that.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import models.classify.output  # noqa: F401 - registers the layer that saved models end in
from benchmarks.detection import table
from models.classify.classifier import load_network
from models.classify.spec import find_model
from models.training.data import read_parquet

BATCH: Final = 64
THREADS: Final = 2
ROUNDS: Final = 5
REPRESENTATIVE: Final = 256  # pictures that int8 ranges are taken from

# uint8 or float32 pictures [64, H, W, C] to probabilities [64, K].
Way = Callable[[np.ndarray], np.ndarray]


def residual(size: int, channels: int, filters: tuple[int, ...] = (64, 128, 256)) -> keras.Model:
    """An untrained residual network, pictures to 7 probabilities that differ from picture to picture."""

    def convolution(x: Any, filters: int, kernel: int, stride: int = 1) -> Any:
        x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = keras.Input((size, size, channels))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.ReLU()(convolution(x, 32, 3))
    for width in filters:
        y = layers.ReLU()(convolution(x, width, 3, stride=2))
        y = convolution(y, width, 3)
        x = layers.ReLU()(layers.Add()([y, convolution(layers.AveragePooling2D(2)(x), width, 1)]))
    x = layers.GlobalAveragePooling2D()(x)
    # Large logits, as trained networks have them, so that small errors show.
    logits = layers.Dense(7, kernel_initializer=keras.initializers.RandomNormal(stddev=1.0))(x)
    return keras.Model(inputs, layers.Softmax(dtype="float32")(logits))


def graph(model: keras.Model, shape: tuple[int, ...], **options: Any) -> Any:
    """Pixels of one batch to probabilities, as a tf.function."""

    def probabilities(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(pixels, tf.float32), training=False)

    return tf.function(probabilities, input_signature=[tf.TensorSpec((BATCH, *shape), tf.uint8)], **options)


def frozen(function: Any, **options: Any) -> Any:
    """The same with the weights as constants, which lets TensorFlow fuse normalisation into convolutions."""
    constant = convert_variables_to_constants_v2(function.get_concrete_function())
    return tf.function(lambda pixels: constant(pixels)[0], **options)


def in_bfloat16(model: keras.Model) -> keras.Model:
    """The same model with layers that compute in bfloat16; the last two stay in float32."""
    wide = {layer.name for layer in model.layers[-2:]}

    def clone(layer: layers.Layer) -> layers.Layer:
        settings = layer.get_config()
        if layer.name not in wide and not isinstance(layer, layers.InputLayer):
            settings["dtype"] = "mixed_bfloat16"
        return layer.__class__.from_config(settings)

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def litert(model: keras.Model, shape: tuple[int, ...], mode: str, examples: np.ndarray) -> Way:
    """LiteRT with XNNPACK. mode: float, dynamic (int8 weights) or int8 (activations too)."""
    from ai_edge_litert.interpreter import Interpreter

    function = tf.function(
        lambda pixels: model(pixels, training=False),
        input_signature=[tf.TensorSpec((BATCH, *shape), tf.float32)],
    )
    constant = convert_variables_to_constants_v2(function.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([constant])
    if mode != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "int8":
        batches = examples[: len(examples) // BATCH * BATCH].reshape(-1, BATCH, *shape).astype(np.float32)
        converter.representative_dataset = lambda: ([batch] for batch in batches)
    interpreter = Interpreter(model_content=converter.convert(), num_threads=THREADS)
    interpreter.allocate_tensors()
    pixels, output = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(batch: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(pixels, batch.astype(np.float32))
        interpreter.invoke()
        probabilities: np.ndarray = interpreter.get_tensor(output)
        return probabilities

    return run


def onnx(model: keras.Model, quantised: bool, examples: np.ndarray) -> Way:
    """ONNX Runtime. quantised: weights and activations in int8, ranges from the examples."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.export(path, format="onnx", verbose=False)
        if quantised:
            path = _quantise_onnx(path, examples)
        content = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # Threads that wait by spinning would count as work, and would slow whatever else runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch.astype(np.float32)})[0]


def _quantise_onnx(path: Path, examples: np.ndarray) -> Path:
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, small = path.with_name("prepared.onnx"), path.with_name("int8.onnx")
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    name = onnxruntime.InferenceSession(str(prepared)).get_inputs()[0].name

    class Examples(CalibrationDataReader):
        def __init__(self) -> None:
            self._rest = iter(examples.astype(np.float32))

        def get_next(self) -> dict[str, np.ndarray] | None:
            example = next(self._rest, None)
            return None if example is None else {name: example[None]}

    quantize_static(str(prepared), str(small), Examples())
    return small


def ways(model: keras.Model, shape: tuple[int, ...], examples: np.ndarray) -> dict[str, Callable[[], Way]]:
    """Every way by name, each made only when called."""

    def tensorflow(function: Any) -> Way:
        return lambda batch: function(batch).numpy()

    return {
        "keras graph": lambda: tensorflow(graph(model, shape)),
        "keras graph, XLA": lambda: tensorflow(graph(model, shape, jit_compile=True)),
        "frozen graph": lambda: tensorflow(frozen(graph(model, shape))),
        "frozen graph, XLA": lambda: tensorflow(frozen(graph(model, shape), jit_compile=True)),
        "keras graph, bfloat16": lambda: tensorflow(graph(in_bfloat16(model), shape)),
        "frozen graph, bfloat16": lambda: tensorflow(frozen(graph(in_bfloat16(model), shape))),
        "LiteRT": lambda: litert(model, shape, "float", examples),
        "LiteRT, int8 weights": lambda: litert(model, shape, "dynamic", examples),
        "LiteRT, int8": lambda: litert(model, shape, "int8", examples),
        "ONNX Runtime": lambda: onnx(model, False, examples),
        "ONNX Runtime, int8": lambda: onnx(model, True, examples),
    }


def compare(model: keras.Model, pictures: np.ndarray, examples: np.ndarray) -> list[dict[str, Any]]:
    """Speed and error of every way. pictures: uint8 [N, H, W, C], N a multiple of 64."""
    batches = pictures.reshape(-1, BATCH, *pictures.shape[1:])
    runs = {name: make() for name, make in ways(model, pictures.shape[1:], examples).items()}
    answers = {name: np.concatenate([run(batch) for batch in batches]) for name, run in runs.items()}
    wall = {name: np.inf for name in runs}
    cpu = dict.fromkeys(runs, 0.0)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            clock, processor = time.perf_counter(), time.process_time()
            for batch in batches:
                run(batch)
            wall[name] = min(wall[name], time.perf_counter() - clock)
            cpu[name] += (time.process_time() - processor) / ROUNDS
    today = answers["keras graph"]
    return [
        {
            "way": name,
            "faces_s": len(pictures) / wall[name],
            "faces_cpu_s": len(pictures) / cpu[name],
            "speed": cpu["keras graph"] / cpu[name],
            "max_difference": float(np.abs(answers[name] - today).max()),
            "other_label": float((answers[name].argmax(axis=1) != today.argmax(axis=1)).mean()),
        }
        for name in runs
    ]


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--model", default="default", show_default=True)
@click.option("--pictures", default=640, show_default=True, help="How many, in each round.")
@click.option("--json", "as_json", is_flag=True)
def main(data: Path, model: str, pictures: int, as_json: bool) -> None:
    """Print one table a network."""
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    keras.utils.set_random_seed(0)
    found = find_model(model)
    shape = found.spec.input_size, found.spec.channels
    test = read_parquet(data, "PublicTest", *shape).images[: pictures // BATCH * BATCH]
    examples = read_parquet(data, "Training", *shape).images[:REPRESENTATIVE]
    networks = {model: load_network(found), "residual": residual(*shape)}
    results = {name: compare(network, test, examples) for name, network in networks.items()}
    if as_json:
        click.echo(json.dumps(results, indent=1))
        return
    for name, rows in results.items():
        click.echo(f"\n{name}, {networks[name].count_params():,} parameters\n")
        click.echo(table(tuple(rows[0]), [list(row.values()) for row in rows]))


if __name__ == "__main__":
    main()
