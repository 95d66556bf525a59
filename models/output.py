"""The last layer of every saved model: calibrated probabilities, and what inference must know."""

import keras
from keras import ops

import models.layers  # noqa: F401 - so that one import registers all that a saved model's file names


def class_logits(logits: keras.KerasTensor) -> keras.KerasTensor:
    """A logit for each class: [N, K] as they are, [N, 1] with a 0 put before them for the first of two."""
    return ops.pad(logits, ((0, 0), (1, 0))) if logits.shape[-1] == 1 else logits


@keras.saving.register_keras_serializable("affectline")
class ClassProbabilities(keras.layers.Layer):
    """Logits [N, K] to calibrated probabilities [N, K]: softmax(logits / temperature).

    A model of two classes may give one logit, [N, 1]: the second class's, beside 0 for the first. The
    softmax of both is the sigmoid of the one.

    The temperature is a setting of the layer and no weight, so that a saved model has exactly the
    parameters of its architecture. The other settings change nothing here: they stand in the file so
    that it alone tells its classes and how to cut out its faces (see `models.classifier`).
    """

    def __init__(
        self,
        temperature: float,
        architecture: str,
        classes: list[str],
        crop: dict[str, float],
        **kwargs: object,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.temperature = temperature
        self.architecture = architecture
        self.classes = list(classes)
        self.crop = dict(crop)

    def call(self, logits: keras.KerasTensor) -> keras.KerasTensor:
        """Probabilities, one for each class; rows sum to 1."""
        return ops.softmax(class_logits(logits) / self.temperature)

    def get_config(self) -> dict[str, object]:
        """The settings, as saved in the file."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "architecture": self.architecture,
            "classes": self.classes,
            "crop": self.crop,
        }
