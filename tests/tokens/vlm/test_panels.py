"""The page of a visual model: accuracy by kind, and questions at each budget with the grid that the model saw."""

import base64
import io
import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image

from anysize.cli.main import run
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.page import page
from anysize.core.frontier.record import Record
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.measure import measure
from anysize.core.verbs.panels import panels
from anysize.tokens.vlm.kinds_panel import by_kind
from anysize.tokens.vlm.model import NestedVLM
from anysize.tokens.vlm.pictures_panel import chosen
from anysize.tokens.vlm.seen import seen
from tests.tiny_vlm import drawn, write_questions
from tests.tokens.vlm.test_fit import shown
from tests.tokens.vlm.test_model import pooled, queried


def test_the_page_shows_kinds_and_answers_and_loads_nothing():
    model, data = pooled(), shown(12, 4)
    data.table.columns["question"][:] = ["<b>what</b> is there"] * 12
    found = panels(model, data, measure(model, data, max_new_tokens=16, by="answers"))
    assert [one.title for one in found] == ["Accuracy by kind of question", "6 questions at each budget"]
    text = page(measure(model, data), found)
    assert "&lt;b&gt;what&lt;/b&gt; is there" in text
    assert "<b>what" not in text
    loaded = re.findall(r'(?:href|src)="([^"#][^"]*)"', text)
    assert len(loaded) == 6
    assert all(one.startswith("data:image/jpeg;base64,") for one in loaded)
    first = Image.open(io.BytesIO(base64.b64decode(loaded[0].partition(",")[2])))
    assert first.size == (24, 24)
    assert sorted(re.findall(r"[✓✗] (\d+) token", text)) == ["1"] * 6 + ["16"] * 6 + ["4"] * 6
    read = model.read([[{"image": one}, {"text": "<b>what</b> is there"}] for one in data.table["image"]])
    for count in (1, 4, 16):
        said = set(model.at(tokens=count).answers(read, max_new_tokens=16))
        told = re.findall(r"<p><b>([^<]*)</b><br><span class=\"soft\">. " + str(count) + " token", text)
        assert {one.replace("&lt;", "<").replace("&gt;", ">") for one in told} <= said


def test_the_command_writes_the_page_for_questions_held_out(tmp_path, capsys):
    write_questions(tmp_path)
    pooled().save(tmp_path / "eye")
    assert run(shlex.split(f"measure {tmp_path}/eye {tmp_path}/vqa.jsonl --html {tmp_path}/eye.html")) == 0
    assert "6 questions at each budget" in (tmp_path / "eye.html").read_text()


def test_kinds_are_drawn_only_where_they_were_told():
    one = [Record(Size(tokens=n), "nested", {"accuracy": 0.5, "accuracy_a&b": n / 8}, n) for n in (2, 4)]
    panel = by_kind(None, None, Frontier(tuple(one), "accuracy"))
    assert "a&amp;b" in panel.body
    assert '<td style="--share:14%">.250</td><td style="--share:27%">.500</td>' in panel.body
    assert "M32.0 148.0L264.0 102.0" in panel.body  # 25 and 50 of 100 on 184 pixels, from 2 to 4 tokens
    none = [Record(Size(tokens=n), "nested", {"accuracy": 0.5}, n) for n in (2, 4)]
    assert by_kind(None, None, Frontier(tuple(none), "accuracy")) is None


def test_what_a_budget_looks_at():
    picture = drawn(1)[0]
    model = pooled()
    assert seen(model.at(tokens=4), picture) == (2, 2, [1.0] * 4)
    for mode, kept in (("spatial", {0, 2, 8, 10}), ("sequential", {0, 1, 2, 3})):
        other = NestedVLM(Nesting(tokens=(4, 16)), model.vlm, {"kind": "pool", "mode": mode}).at(tokens=4)
        rows, columns, shares = seen(other, picture)
        assert (rows, columns, {place for place, share in enumerate(shares) if share}) == (4, 4, kept)
    asking = queried()
    rows, columns, shares = seen(asking.at(tokens=3), picture)
    part = asking.vlm.projector
    with torch.no_grad():
        pixels = asking.vlm.pixels([picture])
        patches = asking.net.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-1][0, 1:]
        asked = part.ln_q(part.query[:3] + part.positions[:3])
        queries = torch.nn.functional.linear(asked, part.attn.in_proj_weight[:16], part.attn.in_proj_bias[:16])
        where = torch.nn.functional.interpolate(
            part.positions.unflatten(0, (3, 3)).permute(2, 0, 1)[None], (4, 4), mode="bicubic", align_corners=False
        )[0].permute(1, 2, 0).flatten(0, 1).half().float()  # fmt: skip
        keys = part.ln_k(patches) + where
        keys = torch.nn.functional.linear(keys, part.attn.in_proj_weight[16:32], part.attn.in_proj_bias[16:32])
        each = torch.einsum("qhd,khd->hqk", queries.unflatten(1, (4, 4)), keys.unflatten(1, (4, 4))) / 2
        expected = each.softmax(-1).mean((0, 1))
    assert (rows, columns) == (4, 4)
    assert shares == pytest.approx((expected / expected.max()).tolist(), abs=1e-5)


def test_questions_are_chosen_by_the_fewest_tokens_that_answer():
    marks = np.array([[1, 1], [1, 1], [0, 1], [0, 0], [0, 1], [1, 0]], dtype=bool)
    assert chosen(marks, list("abcdef")) == [0, 1, 5, 2, 4, 3]
    many = np.vstack([marks] * 3)
    assert len(chosen(many, list(range(18)))) == 6
    same = np.ones((4, 2), dtype=bool)
    assert chosen(same, ["a", "a", "b", "b"]) == [0, 1, 2, 3]
    assert chosen(marks[:1], ["a"]) == [0]
