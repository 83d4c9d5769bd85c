"""View models of the pages. They contain no HTTP and do no I/O of their own."""
