"""The page that `look` writes: what it says, that it is closed to the outside, and what a real browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anysize.core.data.read import read
from anysize.core.errors import DataError
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.load import load
from anysize.sparse import SparseAutoencoder
from anysize.sparse.formats import saelens
from anysize.sparse.looking.gather import look
from anysize.sparse.looking.page import _verdict, page
from anysize.sparse.measuring.errors_of_rows import fvu
from anysize.sparse.measuring.rebuilt import reconstruction
from anysize.sparse.pruning.powerlaw import PowerLaw, Rival
from anysize.sparse.rows.stored import is_held_out
from tests.conftest import tree as contents
from tests.sparse.making import LATENTS, inputs, random_sae

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
X = inputs(300)
TEXTS = [f"text {row} about <b>{'apples' if row % 2 else 'pears'}</b> & more" for row in range(300)]
NAMES = {3: {"name": "fruit </script>", "similarity": 0.5, "accepted": True}}


@pytest.fixture(scope="module")
def looked():
    return look(random_sae("topk"), X, TEXTS, title="mine <1>", names=NAMES)


def test_each_latent_is_shown_as_it_is(looked):
    sae = random_sae("topk")
    codes = sae.encode_dense(X).numpy()
    assert len(looked.latents) == int((codes > 0).any(0).sum())
    assert looked.dead == LATENTS - len(looked.latents)
    assert looked.dense == int(((codes > 0).mean(0) > 0.1).sum())
    for one in looked.latents:
        column = codes[:, one.latent]
        assert one.frequency == pytest.approx((column > 0).mean())
        top = np.argsort(-column, kind="stable")[: len(one.rows)]
        np.testing.assert_allclose(one.values, column[top], rtol=1e-6)
        assert set(one.rows) == set(top.tolist())
        assert sum(one.histogram) == (column > 0).sum()
        assert one.level == str(next(size for size in (8, 20, 40) if one.latent < size))
        assert all(looked.inputs[row] == TEXTS[row] for row in one.rows)
    assert [one.energy for one in looked.latents] == sorted((one.energy for one in looked.latents), reverse=True)
    for level, size in zip(looked.levels, sae.nesting, strict=True):
        assert level.fvu == pytest.approx(fvu(X, sae.at(size)(X).detach()), rel=1e-4)
    ranks = looked.curves["strongest activations kept"]
    assert ranks[6] == pytest.approx(fvu(X, sae(X).detach()), rel=1e-4)


def tree() -> tuple[SparseAutoencoder, np.ndarray]:
    """Two parents; latents 2 and 3 fire only where latent 0 does, 4 where 1 does."""
    sae = SparseAutoencoder(Nesting(latents=(2, 5)), 5, activation="relu")
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(5))
        sae.W_dec.copy_(torch.eye(5))
    rng = np.random.default_rng(0)
    x = np.zeros((200, 5), np.float32)
    x[:60, 0] = x[60:120, 1] = 1
    x[:30, 2] = x[30:60, 3] = x[60:110, 4] = 1
    return sae.eval(), x * rng.uniform(0.5, 1, (200, 1)).astype(np.float32)


def test_a_finer_latent_is_shown_under_the_coarse_one_that_it_refines():
    sae, x = tree()
    latents = {one.latent: one for one in look(sae, x, [str(row) for row in range(200)]).latents}
    assert {fine: [parent.latent for parent in latents[fine].parents] for fine in (2, 3, 4)} == {2: [0], 3: [0], 4: [1]}
    parent = latents[2].parents[0]
    assert (parent.share, parent.base, parent.cosine) == (1.0, pytest.approx(0.3), pytest.approx(0.0))
    assert latents[0].parents == ()


def test_counts_that_differ_are_refused():
    with pytest.raises(DataError, match="one for each"):
        look(random_sae(), X, TEXTS[:-1])


def test_the_page_loads_nothing_and_escapes_everything(looked):
    text = page(looked)
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    assert "default-src 'none'" in text
    assert "mine &lt;1&gt;" in text
    assert "$" not in re.sub(r"\$/", "", text).replace("$$", "")
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    data = json.loads(held[1])
    assert {one["id"] for one in data["latents"]} == {one.latent for one in looked.latents}
    named = next(one for one in data["latents"] if one["id"] == 3)
    assert (named["name"], named["ok"]) == ("fruit </script>", True)
    assert "<b>" in data["inputs"][str(named["rows"][0])]
    for heading in ("Sizes", "Fewer latents", "Sparser codes", "Importance", "How often latents fire"):
        assert f"<h2>{heading}</h2>" in text


def opened(folder: Path, text: str, script: str, fragment: str = "") -> str:
    """What the page holds once a browser has run it and then `script`; errors end up in the title."""
    watch = '<script>addEventListener("error", event => { document.title = "broken: " + event.message; });</script>'
    file = folder / "page.html"
    file.write_text(text.replace("<head>", "<head>" + watch).replace("</body>", f"<script>{script}</script></body>"))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--virtual-time-budget=5000", "--dump-dom", f"file://{file}{fragment}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    broken = re.search("<title>broken: [^<]*", done.stdout)
    assert broken is None, broken
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_a_browser_searches_and_shows_latents(tmp_path, looked):
    """One visit, since a browser takes seconds to start: a latent by its address, then a search, then a click."""
    script = """
        const note = (name, value) => document.body.setAttribute("data-" + name, value);
        note("first", document.querySelector("#shown h2").textContent);
        note("bars", document.querySelectorAll("#shown svg rect").length);
        note("inputs", document.querySelectorAll("#shown .top li").length);
        at("search").value = "FRUIT"; at("search").dispatchEvent(new Event("input"));
        note("found", [...document.querySelectorAll("#list button")].map(button => button.dataset.latent).join());
        document.querySelector("#list button").click();
        note("clicked", document.querySelector("#shown h2").textContent);
        at("search").value = "apples"; at("search").dispatchEvent(new Event("input"));
        note("apples", document.querySelectorAll("#list button").length);
        at("search").value = ""; at("order").value = "id"; at("order").dispatchEvent(new Event("change"));
        note("ids", [...document.querySelectorAll("#list button")].map(button => button.dataset.latent).join());
        const parents = document.querySelectorAll("#shown .family button");
        note("parents", parents.length);
    """
    shown = next(one for one in looked.latents if one.latent != 3)
    text = opened(tmp_path, page(looked), script, f"#{shown.latent}")
    told = dict(re.findall(r'data-(\w+)="([^"]*)"', re.search(r"<body[^>]*>", text)[0]))
    assert told["first"] == f"latent {shown.latent}"
    assert told["bars"] == "24"
    assert int(told["inputs"]) == len(shown.rows)
    assert told["found"] == "3"
    assert told["clicked"].startswith("fruit &lt;/script&gt;") or told["clicked"].startswith("fruit </script>")
    holding = [one for one in looked.latents if any("apples" in TEXTS[row] for row in one.rows)]
    assert int(told["apples"]) == len(holding)
    assert told["ids"] == ",".join(str(one) for one in sorted(one.latent for one in looked.latents))
    assert "<b>apples</b>" not in text  # a text is text, also on the page


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_a_browser_walks_from_a_latent_to_the_one_it_refines(tmp_path):
    sae, x = tree()
    text = page(look(sae, x, [f"row {row}" for row in range(200)]))
    script = """
        const titles = () => [...document.querySelectorAll("#shown .family h3")].map(one => one.textContent).join();
        document.body.setAttribute("data-fine", titles());
        document.querySelector("#shown .family button").click();
        document.body.setAttribute("data-coarse", document.querySelector("#shown h2").textContent + ":" + titles());
    """
    told = opened(tmp_path, text, script, "#2")
    assert 'data-fine="Refines"' in told
    assert 'data-coarse="latent 0:Is refined by"' in told


def test_look_as_typed(anysize, tmp_path):
    random_sae("topk").save(tmp_path / "sae")
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    (tmp_path / "names.json").write_text(json.dumps({"concepts": [{"latent": 3, **NAMES[3]}]}))
    command = ["look", tmp_path / "sae", tmp_path / "x.npy", "--html", tmp_path / "page.html"]
    said = anysize(*command, "--json")
    assert said.status == 0, said.err
    assert said.json["latents"] + said.json["dead"] == LATENTS
    assert "row 17" in (tmp_path / "page.html").read_text()
    more = ["--texts", tmp_path / "texts.txt", "--concepts", tmp_path / "names.json"]
    assert anysize(*command, *more).status == 0
    assert "fruit \\u003c/script>" in (tmp_path / "page.html").read_text()
    (tmp_path / "texts.txt").write_text("one")
    anysize(*command, *more).refused("1 lines for 300 rows")
    (tmp_path / "names.json").write_text("{}")
    anysize(*command, "--concepts", tmp_path / "names.json").refused("anysize concepts --out")
    anysize(*command[:3], "--html", tmp_path / "none" / "page.html").refused("does not exist")


def test_sizes_are_measured_on_what_training_left_out(anysize, tmp_path):
    sae, held = random_sae("topk"), is_held_out(np.arange(len(X)), len(X))
    np.save(tmp_path / "x.npy", X)
    sae.about = {"data": {"name": "x", "fingerprint": read(tmp_path / "x.npy").fingerprint}}
    sae.save(tmp_path / "sae")
    command = ["look", tmp_path / "sae", tmp_path / "x.npy", "--html", tmp_path / "page.html"]
    assert anysize(*command).status == 0
    found = (tmp_path / "page.html").read_text()
    assert f"On the {held.sum()} inputs that training left out" in found
    assert f"{reconstruction(sae, X[held]).fvu:.4f}" in found
    np.save(tmp_path / "x.npy", X + np.float32(1))
    assert anysize(*command).status == 0
    assert "On these inputs" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("kind", ["ours", "SAELens"])
def test_prune_as_typed(anysize, tmp_path, kind):
    sae = random_sae("batchtopk")
    if kind == "ours":
        sae.save(tmp_path / "sae")
    else:
        saelens.write(sae, tmp_path / "sae")
    np.save(tmp_path / "x.npy", X)
    command = ["prune", tmp_path / "sae", tmp_path / "x.npy", "--latents", "10,20", "--out", tmp_path / "small"]
    said = anysize(*command, "--json")
    assert said.status == 0, said.err
    assert [row["latents"] for row in said.json["sizes"]] == [40, 10, 20]
    held, small = X[is_held_out(np.arange(300), 300)], load(tmp_path / "small")
    for row in said.json["sizes"][1:]:
        assert row["fvu"] == pytest.approx(fvu(held, small.at(latents=row["latents"])(held).detach()), rel=1e-3)
    assert "10 latents" in anysize(*command).out
    card = (tmp_path / "small" / "README.md").read_text()
    for row in said.json["sizes"][1:]:
        assert re.search(rf"\| latents={row['latents']} \| [\d,]+ \| {1 - row['fvu']:.4f} \|", card)
    assert f'sae_lens.SAE.load_from_disk("{tmp_path / "small"}")' in card
    (tmp_path / "small" / "README.md").write_text("mine")
    assert "is kept as it is" in anysize(*command).err
    assert (tmp_path / "small" / "README.md").read_text() == "mine"
    # The layout is written; any verb reads it.
    assert (tmp_path / "small" / "sae_weights.safetensors").exists()
    assert anysize("cut", tmp_path / "small", "--size", "latents=10", "--out", tmp_path / "tiny").status == 0
    anysize(*command[:4], "50", "--out", tmp_path / "large").refused("cannot be kept of 40")
    # What SAELens or a user wrote there is no earlier cut, though it holds the same files.
    saelens.write(sae, tmp_path / "theirs-saelens")
    (tmp_path / "theirs-saelens" / "anysize-export.json").unlink()
    before = contents(tmp_path)
    for verb in (command[:5], ["cut", tmp_path / "small", "--size", "latents=10"]):
        anysize(*verb, "--out", tmp_path / "theirs-saelens").refused("not ours to replace")
    assert contents(tmp_path) == before


def test_where_all_latents_are_dead_it_is_said_and_shown(anysize, tmp_path):
    sae = random_sae("batchtopk")
    sae.threshold.fill_(1e9)
    sae.save(tmp_path / "sae")
    np.save(tmp_path / "x.npy", X)
    said = anysize("look", tmp_path / "sae", tmp_path / "x.npy", "--html", tmp_path / "page.html", "--json")
    assert said.status == 0, said.err
    assert (said.json["latents"], said.json["dead"]) == (0, LATENTS)
    assert f"{LATENTS} of {LATENTS} latents are dead" in (tmp_path / "page.html").read_text()
    assert anysize("measure", tmp_path / "sae", tmp_path / "x.npy").status == 0
    words = ["prune", tmp_path / "sae", tmp_path / "x.npy", "--latents", "8", "--out", tmp_path / "small"]
    anysize(*words).refused("no latent fires on these rows")


def test_rows_that_show_nothing_are_refused(anysize, tmp_path):
    random_sae("batchtopk").save(tmp_path / "sae")
    random_sae("relu").save(tmp_path / "relu")
    np.save(tmp_path / "same.npy", np.ones((60, X.shape[1]), np.float32))
    np.save(tmp_path / "three.npy", X[:3])
    np.save(tmp_path / "x.npy", X)
    anysize("measure", tmp_path / "sae", tmp_path / "same.npy").refused("all of 60 rows to rebuild are the same")
    small = ["--out", tmp_path / "small"]
    anysize("prune", tmp_path / "sae", tmp_path / "three.npy", "--latents", "8", *small).refused("1 rows to rebuild")
    anysize("prune", tmp_path / "sae", tmp_path / "x.npy", "--latents", "8", "--active", "50", *small).refused(
        "active=50 does not fit the 8 latents"
    )
    anysize("prune", tmp_path / "relu", tmp_path / "x.npy", "--latents", "8", "--active", "3", *small).refused(
        "relu codes have no threshold"
    )
    assert not (tmp_path / "small").exists()


def test_the_verdict_on_the_power_law_is_a_sentence():
    rivals = (Rival("exponential", 5.0, 0.0), Rival("lognormal", -4.0, 0.0), Rival("stretched exponential", 0.3, 0.7))
    law = PowerLaw(-0.6, 1.0, 0.99, 10, 100, 120, rivals)
    said = _verdict(SimpleNamespace(law=law))
    assert said.endswith(
        "A power law is likelier than exponential; less likely than lognormal; as likely as stretched exponential."
    )
