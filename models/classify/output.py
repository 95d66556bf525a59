"""The last layer of every saved model: calibrated probabilities, and what inference must know."""

from typing import Any

import keras
import numpy as np
from keras import ops

import models.architectures.layers  # noqa: F401 - so that one import registers all that a saved model's file names


def class_logits(logits: keras.KerasTensor) -> keras.KerasTensor:
    """A logit for each class: [N, K] as they are, [N, 1] with a 0 put before them for the first of two."""
    return ops.pad(logits, ((0, 0), (1, 0))) if logits.shape[-1] == 1 else logits


@keras.saving.register_keras_serializable("affectline")
class ClassProbabilities(keras.layers.Layer):
    """Logits [N, K] to calibrated probabilities [N, K]: softmax(logits / temperature + shift).

    A model of two classes may give one logit, [N, 1]: the second class's, beside 0 for the first. The
    softmax of both is the sigmoid of the one.

    The shift is log(assumed) - log(training), from the classes' shares in the training data to those
    that the probabilities assume; without a `prior` there is none. Both are settings of the layer and
    no weights, so that a saved model has exactly the parameters of its architecture. The other settings
    change nothing here: they stand in the file so that it alone tells its classes, how to cut out its
    faces, how its confidence falls with their sharpness (see `models.classify.classifier`), and how
    several heads were joined into it (see `models.training.join`).

    A network with several of them has several heads, each called by the name of its layer.
    """

    def __init__(
        self,
        temperature: float,
        architecture: str,
        classes: list[str],
        crop: dict[str, float],
        prior: dict[str, list[float]] | None = None,
        softening: dict[str, float] | None = None,
        joined: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.temperature = temperature
        self.architecture = architecture
        self.classes = list(classes)
        self.crop = dict(crop)
        self.prior = prior and dict(prior)
        self.softening = softening and dict(softening)
        self.joined = joined and dict(joined)

    def call(self, logits: keras.KerasTensor) -> keras.KerasTensor:
        """Probabilities, one for each class; rows sum to 1."""
        scores = class_logits(logits) / self.temperature
        if self.prior:
            scores += np.log(self.prior["assumed"]) - np.log(self.prior["training"])
        return ops.softmax(scores)

    def get_config(self) -> dict[str, Any]:
        """The settings, as saved in the file."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "architecture": self.architecture,
            "classes": self.classes,
            "crop": self.crop,
            "prior": self.prior,
            "softening": self.softening,
            "joined": self.joined,
        }
