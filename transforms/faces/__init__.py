"""Faces in a picture: found, cut out, described."""
