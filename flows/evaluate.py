"""Every trained model on val and test → metrics/ and evaluations/."""

from flows._run import stage
from pipeline.evaluate.stage import run

if __name__ == "__main__":
    stage("evaluate", run)
