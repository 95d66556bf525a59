"""What a step tells the user by raising it, found again in what Beam makes of it."""

import pytest

from pipeline.run.local import find_told
from schemas.errors import MissingGpuError, ModelChangedError

SENTENCE = "The model mine.keras is another file than when the run began; run the same command again."
FROM_A_WORKER = f"""bundle inst002 stage Sample/ParDo failed:Traceback (most recent call last):
  File "/x/transforms/steps/classify_emotions.py", line 57, in load_model
    classifier = load_model(self._model, self._batch_size)
schemas.errors.ModelChangedError: {SENTENCE}

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/x/apache_beam/runners/common.py", line 1501, in process
schemas.errors.ModelChangedError: {SENTENCE} [while running 'RunInference/BeamML_RunInference']
"""


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (ModelChangedError(SENTENCE), ModelChangedError, SENTENCE),
        (ModelChangedError(f"{SENTENCE} [while running 'RunInference/X']"), ModelChangedError, SENTENCE),
        (RuntimeError(FROM_A_WORKER), ModelChangedError, SENTENCE),
        (RuntimeError("schemas.errors.MissingGpuError: None here."), MissingGpuError, "None here."),
    ],
)
def test_the_sentence_is_found(error, kind, sentence):
    found = find_told(error)
    assert type(found) is kind
    assert str(found) == sentence


def test_other_errors_are_left_alone():
    assert find_told(RuntimeError("ValueError: schemas.errors.ModelChangedError")) is None
