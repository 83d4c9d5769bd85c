"""Decides which drains may send and count, and which tokens may read."""
