"""report: one self-contained page about all jobs."""
