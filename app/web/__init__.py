"""The REST API and the pages over HTTP, and who may open them."""
