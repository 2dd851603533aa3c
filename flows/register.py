"""Every measured model → one MLflow run and version; the best is the champion."""

from flows._run import stage
from pipeline.register.stage import run

if __name__ == "__main__":
    stage("register", run)
