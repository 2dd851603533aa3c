"""register: MLflow runs, model versions and the champion."""
