"""Inference: what a saved model says of itself, how it wants a face, and its answers."""
