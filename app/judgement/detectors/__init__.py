"""Detectors of one kind of problem each: they look at the newest intervals, and keep no state."""
