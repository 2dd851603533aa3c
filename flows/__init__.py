"""The stages as Prefect flows that run plainly where there is no server."""
