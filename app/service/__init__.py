"""Builds and runs the processes: web, fold worker, syslog worker.

Other packages construct only their own parts.
"""
