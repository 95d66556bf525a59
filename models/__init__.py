"""Face detectors and emotion classifiers: build, train, evaluate, load."""
