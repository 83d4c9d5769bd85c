"""Judges apps from stored rollups, keeps their states and episodes, and answers for any range."""
