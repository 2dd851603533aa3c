"""evaluate: rows, scores with intervals, pictures and speed of every trained job."""
