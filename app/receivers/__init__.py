"""Entry points for log lines: the HTTPS drain, and syslog over TCP and TLS."""
