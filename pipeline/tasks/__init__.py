"""One file per task: what a network learns, predicts and is scored on; pipeline/contracts/task.py is the contract."""
