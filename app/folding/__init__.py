"""Moves batches from inboxes into every resolution and compacts slots that have grown."""
