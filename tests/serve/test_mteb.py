"""MTEB against a running server, and on a loaded model at each width: the guide's own lines, on a small task."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from anysize.serve.held.house import House
from anysize.serve.held.settings import Settings
from tests.conftest import sentences
from tests.serve.conftest import running

pytestmark = pytest.mark.filterwarnings("ignore")  # of the client: theirs are no errors of ours
PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")


def small():
    """A task of similarity with twelve pairs, and no download."""
    from datasets import Dataset
    from mteb.abstasks.sts import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    texts = sentences(24)
    rows = {"sentence1": texts[:12], "sentence2": texts[12:], "score": [float(place % 6) for place in range(12)]}

    class Small(AbsTaskSTS):
        metadata = TaskMetadata(
            name="Small", description="twelve pairs", type="STS", category="t2t", eval_langs=["eng-Latn"],
            dataset={"path": "none", "revision": "1"}, main_score="cosine_spearman",
        )  # fmt: skip

        def load_data(self, **_: object) -> None:
            self.dataset, self.data_loaded = {"test": Dataset.from_dict(rows)}, True

    return Small(), rows


def score(model, rows):
    """Spearman's correlation of the cosines with the scores, by another library."""
    from scipy.stats import spearmanr

    one, other = model.encode(rows["sentence1"]), model.encode(rows["sentence2"])
    return spearmanr((one * other).sum(1), rows["score"]).statistic


def test_the_guides_lines_measure_every_width_loaded_and_served(kinds, tmp_path, monkeypatch):
    pytest.importorskip("mteb", reason="mteb is not installed (extra test-clients)", exc_type=ImportError)
    model = kinds("embedder")
    model.save(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    (snippet,) = [one for one in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "mteb" in one]
    task, rows = small()
    house = House(Settings(sizes=("dims=4",)))
    house.add("mine", model)
    with running(house) as client:
        names = {"task": task}
        lines = snippet.replace("http://127.0.0.1:8080", client.url).replace("(64, 128)", "(4, 16)")
        exec(compile(lines, "docs/serving.md", "exec"), names)
    assert len(names["loaded"]) == 2
    for dims, result in names["loaded"].items():
        found = result.task_results[0].get_score()
        np.testing.assert_allclose(found, score(model.at(dims=dims), rows), atol=1e-4)
    found = names["served"].task_results[0].get_score()
    np.testing.assert_allclose(found, score(model.at(dims=4), rows), atol=1e-4)
