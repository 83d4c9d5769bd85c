"""Builds and runs the processes: web, fold worker, syslog worker.

Nothing is constructed anywhere else.
"""
