"""The service: from a POST of log lines to answers about them."""
