"""One file, one task: what a network learns, predicts and is scored on."""
