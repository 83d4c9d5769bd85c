"""The REST API and the pages over HTTP, and their access control."""
