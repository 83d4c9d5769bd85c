"""Monitoring of the service: `/metrics` for Prometheus, `/readyz`, and notices on pages."""
