"""Fuzzes the parsers, the drain and the stored formats."""
