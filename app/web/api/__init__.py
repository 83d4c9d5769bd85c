"""The REST API: routes, models, errors, OpenAPI."""
