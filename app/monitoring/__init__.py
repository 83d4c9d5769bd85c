"""What operators scrape and read: `/metrics`, `/readyz`, notices."""
