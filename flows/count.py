"""Parameters, multiply-adds, memory and receptive fields → reports/parameters.json."""

from flows._run import stage
from pipeline.count.stage import run

if __name__ == "__main__":
    stage("count", run)
