"""View models of the pages. No HTTP, and no I/O of their own."""
