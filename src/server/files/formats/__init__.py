"""Reads headers of model files, and tells files that are not whole."""
