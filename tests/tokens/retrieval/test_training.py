"""The contrastive loss over sizes against numpy, what a step compares, and the method from a folder to a frontier."""

import json
import shutil

import numpy as np
import pytest
import torch

import anysize as az
from anysize.core.data.read import read
from anysize.core.errors import DataError
from anysize.core.sizes.size import Size
from anysize.tokens.retrieval.method import MME
from anysize.tokens.retrieval.training import Batches, RetrievalTraining, infonce
from tests.tiny_vlm import drawn, tiny_llava
from tests.tokens.retrieval.test_model import ITEMS, made

WORDS = ("red", "green", "blue", "one", "two")


def by_hand(queries, documents, known, temperature=0.05):
    """-log softmax at the own document, one query at a time, in float64."""
    losses = []
    for row, query in enumerate(queries.astype(np.float64)):
        there = [place for place in range(len(documents)) if place == row or not known[row][place]]
        scores = np.array([query @ documents[place] / temperature for place in there])
        losses.append(np.log(np.exp(scores).sum()) - query @ documents[row] / temperature)
    return float(np.mean(losses))


def units(count, seed):
    rows = np.random.default_rng(seed).standard_normal((count, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_infonce_is_the_mean_over_queries_and_leaves_known_answers_out():
    queries, documents = units(3, 0), units(5, 1)
    known = np.eye(3, 5, dtype=bool)
    known[0, 2] = known[2, 4] = True
    found = infonce(torch.from_numpy(queries), torch.from_numpy(documents), 0.05, torch.from_numpy(known))
    assert float(found) == pytest.approx(by_hand(queries, documents, known), rel=1e-5)
    plain = infonce(torch.from_numpy(queries), torch.from_numpy(documents), 0.05)
    assert float(plain) == pytest.approx(by_hand(queries, documents, np.eye(3, 5)), rel=1e-5)


ROWS = [
    ([{"text": "one"}], ITEMS[0], ITEMS[2]),
    (ITEMS[1], ITEMS[3], ITEMS[2]),
    ([{"text": "one"}], ITEMS[1], ITEMS[3]),
]


@pytest.mark.parametrize("draw", ["mean", "mrl", "random"])
def test_a_step_is_the_mean_over_the_pairs_of_sizes_that_it_names(draw):
    model = made()
    module, batches = RetrievalTraining(model, draw, 0.05, seed=3), Batches(model, ROWS)
    pairs = module.pairs()
    sizes = list(model.nesting)
    wanted = {
        "mean": [(one, other) for one in sizes for other in sizes],
        "mrl": [(one, one) for one in sizes],
    }
    assert pairs == wanted.get(draw, pairs)
    assert len(pairs) == {"mean": 9, "mrl": 3, "random": 1}[draw]
    queries = {size: model.at(size).encode([row[0] for row in ROWS]) for size in sizes}
    listed = [row[place] for place in (1, 2) for row in ROWS]
    documents = {size: model.at(size).encode(listed) for size in sizes}
    # The first and the last row ask the same, and ITEMS[3] answers the second as well.
    known = np.zeros((3, 6), bool)
    known[0, [0, 2]] = known[1, [1, 5]] = known[2, [0, 2]] = True
    expected = np.mean([by_hand(queries[one], documents[other], known) for one, other in pairs])
    assert float(module(**batches(ROWS))["loss"].detach()) == pytest.approx(expected, rel=1e-4)


def test_a_random_step_has_one_size_on_both_sides_and_every_process_draws_the_same():
    steps = []
    for _ in range(2):
        module = RetrievalTraining(made(), "random", 0.05, seed=1)
        drawn_at = []
        for step in range(12):
            module.step.fill_(step)
            ((one, other),) = module.pairs()
            assert one == other
            drawn_at.append(one)
        steps.append(drawn_at)
    assert steps[0] == steps[1]
    assert {size.tokens for size in steps[0]} == {1, 4, 16}


@pytest.fixture(scope="module")
def howto(tmp_path_factory):
    """A folder of documents and queries with pictures, judged by id; documents are not in the order of queries."""
    folder = tmp_path_factory.mktemp("howto")
    (folder / "images").mkdir()
    documents, queries = [], []
    for place, (one, other) in enumerate(zip(drawn(20), drawn(20, seed=1), strict=True)):
        one.save(folder / "images" / f"{place}.png")
        other.save(folder / "images" / f"q{place}.png")
        word = WORDS[place % 5]
        shown = [{"type": "text", "text": word}, {"type": "image", "image": f"images/{place}.png", "alt": "x"}]
        asked = [{"type": "image", "image": f"images/q{place}.png"}, {"type": "text", "text": word}]
        documents.append({"doc_id": f"d{place}", "segments": shown})
        queries.append({"query_id": f"q{place}", "segments": asked})
    (folder / "docs.jsonl").write_text("\n".join(map(json.dumps, documents[::-1])))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "qrels").mkdir()
    for split, rows in (("train", range(16)), ("test", range(16, 20))):
        lines = ["query-id\tdoc-id\tscore", *(f"q{row}\td{row}\t1" for row in rows)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines))
    model, processor = tiny_llava()
    model.save_pretrained(folder / "vlm")
    processor.save_pretrained(folder / "vlm")
    return folder


@pytest.fixture(scope="module")
def finder(howto):
    method = MME(model=str(howto / "vlm"), tokens=(1, 4), epochs=3, batch_size=4, learning_rate=3e-3)
    az.fit(howto, method=method, out=howto / "finder")
    return howto / "finder"


def test_a_folder_of_segments_is_read_with_its_judgements_by_id(howto):
    data = read(howto)
    assert data.corpus.of == data.queries.of == "parts"
    assert data.corpus.ids[0] == "d19"
    assert data.corpus.rows[0] == [{"text": "two"}, {"image": howto / "images" / "19.png"}]
    assert data.qrels["test"]["q16"] == {"d16": 1.0}
    assert len(data.training_pairs()) == 16


def test_a_missing_picture_is_told_by_line(howto, tmp_path):
    (tmp_path / "docs.jsonl").write_text((howto / "docs.jsonl").read_text())
    with pytest.raises(DataError, match=r"20 of 20 files are not there: 'images/19.png' \(.*docs.jsonl line 1\)"):
        read(tmp_path)


def test_it_learns_and_is_measured_with_queries_at_every_size_of_documents(finder, howto):
    model = az.load(finder)
    losses = [one["loss"] for one in model.about["losses"]]
    assert losses[-1] < losses[0]
    frontier = az.measure(model, howto, by="retrieval", query_sizes=("1", "4"))
    task = read(howto).judged()
    documents, queries = model.features(task.corpus.rows), model.features(task.queries.rows)
    for record in frontier.records:
        asked = record.size if record.arm == "nested" else Size.parse(record.arm.removeprefix("queries at "))
        scores = model.at(asked).project(queries) @ model.at(record.size).project(documents).T
        own = [task.corpus.ids.index(f"d{row}") for row in range(16, 20)]
        ranks = 1 + (scores > scores[np.arange(4), own][:, None]).sum(1)
        expected = np.mean([1 / np.log2(1 + rank) if rank <= 10 else 0 for rank in ranks])
        assert record.metrics["ndcg@10"] == pytest.approx(expected)
    assert {record.arm for record in frontier.records} >= {"nested", "queries at tokens=1", "queries at tokens=4"}


def test_a_training_that_stopped_goes_on_to_the_same_weights(howto, tmp_path):
    whole = MME(model=str(howto / "vlm"), tokens=(1, 4), epochs=2, batch_size=8, draw="random", learning_rate=3e-3)
    data = read(howto)
    straight = whole.fit(data, workdir=tmp_path / "a")
    whole.fit(data, workdir=tmp_path / "b")
    last = sorted((tmp_path / "b" / "checkpoints").glob("checkpoint-*"))[-1]
    shutil.rmtree(last)
    again = whole.fit(data, workdir=tmp_path / "b", resume=True)
    assert again.fingerprint == straight.fingerprint


def test_what_a_training_does_not_read_whole_is_told_and_kept(howto, capfd):
    method = MME(model=str(howto / "vlm"), tokens=(1, 16), epochs=1, batch_size=16, max_length=12)
    model = method.fit(read(howto), workdir=howto / "short")
    assert model.about["items_cut"] == {"tokens=16": 32}  # a word, 16 tokens and the end
    assert "at tokens=16, 32 of 32 items are longer than the 12 tokens" in capfd.readouterr().err


def test_texts_find_pictures_and_pictures_texts(howto, tmp_path):
    pictures = [howto / "images" / f"{row}.png" for row in range(4)]
    rows = [{"anchor": [{"text": WORDS[row]}], "positive": [{"image": pictures[row]}]} for row in range(4)]
    method = MME(model=str(howto / "vlm"), tokens=(1, 4), epochs=40, batch_size=4, learning_rate=3e-3)
    model = method.fit(read(rows), workdir=tmp_path / "a")
    there = [row for row in range(4) if [{"text": WORDS[row]}] in read(rows).training_pairs()["anchor"]]
    scores = model.encode([WORDS[row] for row in there]) @ model.encode([pictures[row] for row in there]).T
    assert (scores.argmax(1) == scores.argmax(0)).all()
    assert (scores.argmax(1) == np.arange(len(there))).all()
    with pytest.raises(DataError, match=r"positive 1 \(from 0\): an item has neither words nor a picture"):
        method.fit(read([rows[0], {**rows[1], "positive": [{"text": " "}]}, rows[2]]), workdir=tmp_path / "b")


def test_judgements_of_items_that_are_not_there_are_counted(howto, tmp_path):
    for name in ("docs.jsonl", "queries.jsonl"):
        (tmp_path / name).write_text((howto / name).read_text())
    shutil.copytree(howto / "images", tmp_path / "images")
    (tmp_path / "qrels.tsv").write_text("query-id\tdoc-id\tscore\nq1\td1\t1\nq2\tgone\t1\nnobody\td3\t1\n")
    data = read(tmp_path)
    assert sum("not in the corpus" in note for note in data.notes) == 1
    assert data.judged().queries.ids == ["q1", "q2"]
