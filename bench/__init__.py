"""Measures the cost of Dynometer against a server that does nothing (bench/README.md)."""
