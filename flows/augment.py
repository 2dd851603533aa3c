"""What can be done to images before training → data/augmented/."""

from flows._run import stage
from pipeline.augment.stage import run

if __name__ == "__main__":
    stage("augment", run)
