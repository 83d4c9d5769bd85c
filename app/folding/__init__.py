"""Moves batches from inboxes into every resolution and compacts what has grown."""
