"""Raw images in any format → validated, split Arrow shards in data/prepared/."""

from flows._run import stage
from pipeline.prepare.stage import run

if __name__ == "__main__":
    stage("prepare", run)
