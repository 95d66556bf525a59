"""Emotion classifiers: architectures, training data, training, evaluation and inference."""
