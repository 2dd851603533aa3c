"""count: parameters, multiply-adds, activation memory, receptive field and stride."""
