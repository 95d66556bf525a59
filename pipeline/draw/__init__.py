"""Drawing on frames, and writing them as a video."""
