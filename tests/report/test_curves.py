"""A loss with several components shows them; a single loss does not."""

from pathlib import Path

from pipeline.report.results import read
from pipeline.report.sections import curves
from tests.helpers import fabricate

GAN_HISTORY = """epoch,step,train/lr,train/discriminator,train/generator,train/loss
1,9,0.1,0.5,2.5,3.0
2,18,0.1,0.75,1.25,2.0
"""


def test_both_losses_of_a_gan_are_drawn_and_a_single_loss_only_once(tmp_path: Path) -> None:
    jobs = {"lenet5": fabricate.job("lenet5"), "gan": fabricate.job("gan", task="generation")}
    params = fabricate.params(jobs)
    fabricate.measured(tmp_path, "lenet5", jobs["lenet5"], {"top1": 0.98})
    fabricate.measured(tmp_path, "gan", jobs["gan"], {"FID[lenet5]": 30.0}, higher=False)
    (tmp_path / "models/gan/history.csv").write_text(GAN_HISTORY)
    components = {name: curves.loss_components(name, read(tmp_path, params)) for name in jobs}
    assert components["lenet5"] == {}
    assert components["gan"] == {"discriminator": [(1, 0.5), (2, 0.75)], "generator": [(1, 2.5), (2, 1.25)]}
    page = curves.render(read(tmp_path, params))
    assert page.count('class="component"') == 2
    assert page.count(">discriminator</text>") == page.count(">generator</text>") == 1
