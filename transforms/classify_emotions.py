"""ClassifyEmotions: Beam's RunInference with our own handler; one model a process, batches across videos."""

from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference
from models.classifier import Classifier, load_classifier

from schemas.elements import Face
from transforms.detect_faces import FaceCrop


class EmotionModelHandler(ModelHandler[FaceCrop, Face, Classifier]):
    """Turns batches of FaceCrops into Faces with probabilities; the pixels go no further."""

    def __init__(self, model: str, batch_size: int) -> None:
        """Load `model` (a name or file) on the worker; fill batches of `batch_size` faces."""
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)
        self._model = model

    def load_model(self) -> Classifier:
        """Read the weights and warm the graph up."""
        return load_classifier(self._model)

    def run_inference(
        self, batch: Sequence[FaceCrop], model: Classifier, inference_args: dict[str, Any] | None = None
    ) -> Iterable[Face]:
        """One Face for each FaceCrop, in order; RuntimeError when the model answers for another number."""
        probabilities = model.predict(np.stack([item.crop for item in batch]))
        if len(probabilities) != len(batch):
            raise RuntimeError(f"The model gave {len(probabilities)} answers for {len(batch)} faces.")
        return [item.face._replace(raw=row) for item, row in zip(batch, probabilities.tolist(), strict=True)]

    def get_num_bytes(self, batch: Sequence[FaceCrop]) -> int:
        """Bytes of pixels; the default would pickle every batch to know."""
        return sum(item.crop.nbytes for item in batch)

    def get_metrics_namespace(self) -> str:
        """Where RunInference's own metrics appear."""
        return "affectline"


class ClassifyEmotions(beam.PTransform):
    """PCollection[FaceCrop] → PCollection[Face] with calibrated probabilities."""

    def __init__(self, model: str, batch_size: int) -> None:
        """Classify with `model` in batches of `batch_size`."""
        super().__init__()
        self._handler = EmotionModelHandler(model, batch_size)

    def expand(self, crops: beam.PCollection[FaceCrop]) -> beam.PCollection[Face]:
        """Wire the step."""
        return crops | RunInference(self._handler).with_output_types(Face)
