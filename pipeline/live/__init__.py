"""Emotions as they are seen: cameras, streams and files, frame by frame."""
