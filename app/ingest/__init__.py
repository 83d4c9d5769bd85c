"""Turns request bodies into batches and commits each exactly once, to the store or the spool."""
