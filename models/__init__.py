"""Face detectors and emotion classifiers: build, train, evaluate, load."""

import os

# Both are read when Keras and TensorFlow are first imported, which happens below this package only.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
