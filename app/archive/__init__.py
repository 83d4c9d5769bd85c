"""Optional: keeps hours and days for years in PostgreSQL, and reads them back exactly."""
