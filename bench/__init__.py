"""Measures what Dynometer costs, beside a server that does nothing; see bench/README.md."""
