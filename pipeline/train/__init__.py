"""train: train every stale job on Ray."""
