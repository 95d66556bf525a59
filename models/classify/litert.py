"""A saved model's second form, for processors: LiteRT with weights in 8 bits.

It stands beside the first in the same file, and is several times faster on a CPU; see
docs/faces.md for speed and differences. It gives the probabilities of the file's heads side by side, in the
order of the layers. The values between layers are put into 8 bits too, picture by
picture, so an answer has the same bits whatever else is in the batch.
"""

import zipfile
from pathlib import Path
from typing import Final

MEMBER: Final = "classifier.tflite"  # of the .keras file, which is a zip archive


def add_litert(path: Path) -> None:
    """Put the LiteRT form of a saved model into its file, and compress it; ValueError when it has one.

    Raises RuntimeError, from the converter, for a network with operations that LiteRT lacks.
    """
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from models.classify.output import ClassProbabilities

    with zipfile.ZipFile(path) as archive:
        if MEMBER in archive.namelist():
            raise ValueError(f"'{path}' has its LiteRT form already; save the model anew to replace it.")
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    heads = [layer.output for layer in model.layers if isinstance(layer, ClassProbabilities)]
    answers = keras.Model(model.input, heads)
    graph = tf.function(
        lambda pixels: tf.concat(answers(tf.cast(pixels, tf.float32), training=False), axis=1),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [convert_variables_to_constants_v2(graph.get_concrete_function())]
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content = converter.convert()
    # Keras stores without compression; rounded weights halve when compressed.
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    partial = path.with_name(f"partial-{path.name}")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in {**members, MEMBER: content}.items():
            archive.writestr(name, member)
    partial.replace(path)
