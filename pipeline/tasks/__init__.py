"""One file per task: what a network learns, predicts and is scored on."""
