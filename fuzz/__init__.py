"""Looks for inputs that break the parsers, the drain and the stored formats."""
