"""What a job's curves and scores say, in a sentence with a remedy; nothing where nothing is wrong."""

from pipeline.report.results import Results

#: of the first epoch's train loss: below it, the train images are known by heart
BY_HEART = 0.1
#: a score on val, of 1 at most, below which a network that knows the train images by heart has not understood them
UNDERSTOOD = 0.9
#: last part of the epochs in which the best one lies, if more epochs may help
LAST = 0.05


def advise(job: str, results: Results) -> str:
    """The sentence; empty for a job without an epoch, and where nothing is wrong."""
    primary = str(results.metrics.get(job, {}).get("primary", ""))
    losses, scores = (results.series(job, name) for name in ("train/loss", f"val/{primary}"))
    if not losses or not scores:
        return ""
    score, baseline = results.score(job, primary), results.baseline([job])
    higher = bool(results.metrics[job]["higher_is_better"])
    if score is not None and baseline is not None:
        title, trivial = baseline
        better = score.value > trivial.value if higher else score.value < trivial.value
        if not better:
            return f"has learnt nothing beyond “{title}” ({trivial.value:.3f}): check labels, lr and epochs"
    best_epoch, best = max(scores, key=lambda point: point[1] if higher else -point[1])
    (_, first), (last_epoch, last) = losses[0], losses[-1]
    bounded = higher and best <= 1
    if bounded and 0 < last < BY_HEART * first and best < UNDERSTOOD:
        remedy = "try augmentation, published weights, or more images"
        return f"overfits: train loss {last:.3g}, val {primary} {best:.3f}; {remedy}"
    if best_epoch > (1 - LAST) * last_epoch and len(scores) > 1 and not (bounded and best > 0.99):
        return f"was still improving at epoch {best_epoch:g} of {last_epoch:g}; try more epochs"
    return ""
