"""All of it on one page → reports/index.html."""

from flows._run import stage
from pipeline.report.stage import run

if __name__ == "__main__":
    stage("report", run)
