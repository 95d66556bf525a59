"""Video files: which there are, their clock, their frames. Loads neither Beam nor TensorFlow."""
