"""Parses Heroku's wire formats into samples. Pure: bytes in, values out."""
