from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anysize.cli.verbs.info import Info
from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.record import Record
from anysize.core.sizes.size import Size


def told(path) -> tuple[dict, str]:
    about = Info(path).run()
    value = about.to_json()
    assert json.loads(json.dumps(value)) == value
    return value, about.text()


def tensor(*blocks: tuple[int, int]) -> dict:
    said = [{"block": f"b[{stop}]", "stop": stop, "bytes": count, "sha256": "0" * 64} for stop, count in blocks]
    return {"dim": 0, "dtype": "float32", "blocks": said}


@pytest.fixture
def model(tmp_path):
    manifest = {
        "format": 1,
        "kind": "embedder",
        "made_by": "anysize 0.1.0",
        "nesting": {"sizes": [{"dims": 8}, {"dims": 16}], "weights": [1, 1]},
        "about": {"method": "mrl", "data": {"name": "docs"}, "options": {"model": "all-MiniLM-L6-v2"}},
        "config": {},
        "fingerprint": "abc",
        "nested": {"weight": ["dims", 0]},
        "tensors": {"weight": tensor((8, 1000), (16, 1000)), "bias": tensor((1, 4))},
    }
    (tmp_path / "anysize.json").write_text(json.dumps(manifest))
    return tmp_path


def test_a_model_says_its_sizes_and_what_each_reads(model):
    value, text = told(model)
    assert value["what"] == "model"
    assert value["sizes"] == [
        {"size": "dims=8", "bytes_per_item": 32, "bytes_to_load": 1004},
        {"size": "dims=16", "bytes_per_item": 64, "bytes_to_load": 2004},
    ]
    assert (value["method"], value["base"], value["learnt_from"]) == ("mrl", "all-MiniLM-L6-v2", "docs")
    assert "made by" in text
    assert "anysize 0.1.0" in text
    assert text.endswith(f"next: anysize measure {model} ...")
    (model / "frontier.json").write_text("{}")
    assert told(model)[1].endswith(f"next: anysize choose {model} ...")


@pytest.mark.parametrize("without", ["nesting", "tensors", "kind"])
def test_a_damaged_manifest(model, without):
    manifest = json.loads((model / "anysize.json").read_text())
    del manifest[without]
    (model / "anysize.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"anysize\.json .* may be damaged"):
        told(model)


def test_an_index(tmp_path):
    pytest.importorskip("faiss")
    from anysize.search import Index

    vectors = np.random.default_rng(0).standard_normal((50, 32), dtype=np.float32)
    Index.build(tmp_path / "idx", None, vectors, block=16)
    value, text = told(tmp_path / "idx")
    assert (value["what"], value["items"], value["dims"]) == ("index", 50, 32)
    assert value["sizes"][-1] == {"size": "dims=32", "bytes_per_item": 128, "bytes_to_scan": 6400}
    assert value["bytes_on_disk"] >= 6400
    assert "6,400" in text
    assert "idx --vector QUERY.npy" in text
    assert value["codes"] is None  # so few items have none


def test_a_frontier(tmp_path):
    records = tuple(Record(Size(dims=d), "nested", {"ndcg@10": d / 99}, 4 * d) for d in (8, 16))
    Frontier(records, "ndcg@10", {"task": "a test"}).to_json(tmp_path / "f.json")
    value, text = told(tmp_path / "f.json")
    assert (value["what"], value["task"]) == ("frontier", "a test")
    assert value["sizes"][0] == {"size": "dims=8", "bytes_per_item": 32, "ndcg@10": 0.0808}
    assert f"anysize choose {tmp_path / 'f.json'} --within 1%" in text


@pytest.mark.parametrize("config", [{"inner": 3}, {"encoder": [1]}, {"prompts": ["a"], "instructions": 1}])
def test_settings_that_are_no_settings_are_passed_over(model, config):
    manifest = json.loads((model / "anysize.json").read_text())
    (model / "anysize.json").write_text(json.dumps({**manifest, "config": config}))
    assert told(model)[0]["prompts"] is None


def test_an_ordinary_sentence_transformers_folder(tmp_path):
    modules = [{"path": "", "type": "a.b.Transformer"}, {"path": "1_Pooling", "type": "a.b.Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 384}')
    value, text = told(tmp_path)
    assert (value["what"], value["dims"], value["parts"]) == (
        "sentence-transformers model",
        384,
        "Transformer, Pooling",
    )
    assert f"--model {tmp_path}" in text


def test_data(tmp_path):
    (tmp_path / "p.csv").write_text("anchor,positive\na,b\nc,d\n")
    assert told(tmp_path / "p.csv")[0]["holds"] == "2 pairs"
    (tmp_path / "t.csv").write_text("text,label\na,x\nb,y\nc,y\n")
    assert told(tmp_path / "t.csv")[0]["labels"] == 2
    np.save(tmp_path / "v.npy", np.zeros((3, 5), np.float32))
    assert told(tmp_path / "v.npy")[0]["holds"] == "3 vectors of 5 dims"


def test_a_beir_folder_with_its_notes(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d", "text": "x"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "y"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\nq\tz\t1\n")
    value, text = told(tmp_path)
    assert (value["holds"], value["queries"], value["judgements"]) == ("1 texts", 1, "2 test")
    assert "1 of 2 judgements in qrels.tsv" in text


def test_nothing_known(tmp_path):
    with pytest.raises(AnysizeError, match="holds none of anysize"):
        told(tmp_path)
    with pytest.raises(AnysizeError, match="does not exist"):
        told(tmp_path / "nowhere")


def test_torch_is_not_imported(model):
    command = f"from anysize.cli.main import run; status = run(['info', {str(model)!r}])"
    script = f"import sys; {command}; sys.exit(status or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "dims=16" in done.stdout


@pytest.mark.parametrize("change", [
    {"about": {"options": [1]}}, {"about": {"options": "x"}}, {"about": {"data": 3}}, {"config": {"quantization": 3}},
    {"config": {"quantization": {"scheme": {}}}}, {"about": {"method": {"a": 1}}},
])  # fmt: skip
def test_a_manifest_that_says_strange_things_is_told_or_one_sentence(model, anysize, change):
    manifest = json.loads((model / "anysize.json").read_text())
    (model / "anysize.json").write_text(json.dumps({**manifest, **change}))
    said = anysize("info", model)
    if said.status:
        said.refused(str(model))


@pytest.mark.parametrize("content", ["{}", "[1]", "3", '[{"type": 3}]', '[{"path": {}}]', "[[]]", '"x"', "[" * 9999])
def test_modules_that_are_none_are_told_or_one_sentence(tmp_path, anysize, content):
    (tmp_path / "modules.json").write_text(content)
    said = anysize("info", tmp_path)
    if said.status:
        said.refused(str(tmp_path))


def test_an_older_quantised_model_says_how_its_codes_are_kept_without_torch():
    older = Path(__file__).parents[2] / "data" / "made-before-shares" / "quantized-lm"
    assert "facts" not in json.loads((older / "anysize.json").read_text("utf-8"))
    program = f"import sys; from anysize.cli.about.model import about_model; import pathlib; \
print(about_model(pathlib.Path({str(older)!r})).text()); assert 'torch' not in sys.modules"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "codes" in told
    assert "trained at 8, 4, 2, stored as planes" in told
