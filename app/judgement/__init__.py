"""Judges apps: whether one is all right, since when it is not, who is affected, and after what."""
