"""ClassifyEmotions: Beam's RunInference with our own handler; one model a process, batches across videos."""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference

from models.classify.classifier import GPU_BATCH_SIZE, Classifier
from models.classify.spec import ModelRef
from models.gpu import has_gpu
from schemas.elements import Face
from schemas.errors import MissingGpuError
from transforms.faces.look import FaceCrop, classify, load_model
from transforms.steps import metrics


def require_gpu() -> None:
    """Do nothing where TensorFlow sees a GPU; MissingGpuError elsewhere."""
    if not has_gpu():
        raise MissingGpuError(
            "A GPU was asked for, but TensorFlow sees none on this worker: check that the image is the one "
            "built from Dockerfile, and that the NVIDIA driver was installed."
        )


# With a batch size of "auto" Beam fills batches of so many faces, more the more a batch costs beside its
# faces: few on a CPU, many on a GPU.
SMALLEST_BATCH: Final = 64


class EmotionModelHandler(ModelHandler[FaceCrop, Face, Classifier]):
    """Turns batches of FaceCrops into Faces with probabilities; the pixels go no further."""

    def __init__(self, model: ModelRef, batch_size: int | None, gpu: bool = False) -> None:
        """Load `model` on the worker; fill batches of `batch_size` faces, or of what pays when that is None.

        gpu: refuse to work without a GPU.
        """
        self._batch_size = batch_size or GPU_BATCH_SIZE
        super().__init__(min_batch_size=batch_size or SMALLEST_BATCH, max_batch_size=self._batch_size)
        self._model = model
        self._gpu = gpu

    def load_model(self) -> Classifier:
        """Read the weights and warm the graphs up.

        Raises MissingGpuError where a GPU is due and missing, ModelChangedError for another file.
        """
        if self._gpu:
            require_gpu()
        classifier = load_model(self._model, self._batch_size)
        classifier.warm_up()
        return classifier

    def run_inference(
        self, batch: Sequence[FaceCrop], model: Classifier, inference_args: dict[str, Any] | None = None
    ) -> Iterable[Face]:
        """One Face for each FaceCrop, in order; see `classify`."""
        started = time.monotonic()
        faces = classify(batch, model)
        metrics.INFER_MS.update(round(1000 * (time.monotonic() - started)))
        metrics.BATCH_FILL.update(round(100 * len(batch) / model.slots(len(batch))))
        metrics.FACES_CLASSIFIED.inc(len(batch))
        return faces

    def get_num_bytes(self, batch: Sequence[FaceCrop]) -> int:
        """Bytes of pixels; the default would pickle every batch to know."""
        return sum(item.crop.nbytes for item in batch)

    def get_metrics_namespace(self) -> str:
        """Where RunInference's own metrics appear."""
        return metrics.NAMESPACE


class ClassifyEmotions(beam.PTransform):
    """PCollection[FaceCrop] → PCollection[Face] with calibrated probabilities."""

    def __init__(self, model: ModelRef, batch_size: int | None, gpu: bool = False) -> None:
        """Classify with `model`, `batch_size` faces at once (None: as many as pay); with `gpu`, on a GPU."""
        super().__init__()
        self._handler = EmotionModelHandler(model, batch_size, gpu)
        self._gpu = gpu

    def expand(self, crops: beam.PCollection[FaceCrop]) -> beam.PCollection[Face]:
        """Wire the step, and with a GPU a check that runs at once, before hours of decoding."""
        if self._gpu:
            _ = (
                crops.pipeline
                | "GpuCheckStart" >> beam.Create([None])
                | "GpuCheck" >> beam.Map(lambda _: require_gpu())
            )
        return crops | RunInference(self._handler).with_output_types(Face)
