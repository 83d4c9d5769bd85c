"""Evaluates alert rules once a minute and delivers notifications."""
