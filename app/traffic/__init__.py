"""Simulated apps, a faithful Logplex sender, and log files."""
