from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.data.records import Table
from anysize.core.errors import DataError

PAIRS = [{"anchor": "größe, lang", "positive": 'size "long"'}, {"anchor": "b\nc", "positive": "d"}]
QRELS = "query-id\tcorpus-id\tscore\torig_code\n1\ta\t1\t3\n1\tb\t0\t4\n2\tc\t2\t1\n"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def jsonl(rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def beir(folder: Path, *, gz: str = "", qrels: str = "qrels.tsv", judgements: str = QRELS) -> Path:
    corpus = [{"_id": "a", "title": "T", "text": "x"}, {"_id": "b", "title": "", "text": "y"}, {"_id": "c", "text": ""}]
    write(folder / f"corpus.jsonl{gz}", jsonl(corpus))
    write(folder / f"queries.jsonl{gz}", jsonl([{"_id": 1, "text": "q1", "more": 0}, {"_id": "2", "text": "q2"}]))
    write(folder / f"{qrels}{gz}", judgements)
    return folder


def parquet(path: Path, rows) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


# --- what can be read -----------------------------------------------------------------------------------------


def test_pairs_read_alike_from_every_format(tmp_path):
    csv = 'positive,extra,anchor\n"size ""long""",1,"größe, lang"\nd,2,"b\nc"\n'
    found = [
        read(write(tmp_path / "p.jsonl", jsonl(PAIRS))),
        read(write(tmp_path / "p.jsonl.gz", "\n" + jsonl(PAIRS) + "\n")),
        read(write(tmp_path / "p.csv", csv)),
        read(str(write(tmp_path / "p.csv.gz", "\ufeff" + csv.replace("\n", "\r\n").replace("b\r\n", "b\n")))),
        read(parquet(tmp_path / "p.parquet", PAIRS)),
    ]
    assert [data.pairs["anchor"] for data in found] == [["größe, lang", "b\nc"]] * 5
    assert [data.pairs["positive"] for data in found] == [['size "long"', "d"]] * 5
    assert {data.fingerprint for data in found} == {found[0].fingerprint}
    assert {data.name for data in found} == {"p"}


def test_tsv_takes_quotes_as_they_are(tmp_path):
    data = read(write(tmp_path / "p.tsv", 'anchor\tpositive\tnegative\n"open\tb\tc\r\n'))
    assert (data.pairs["anchor"], data.pairs["negative"]) == (['"open'], ["c"])


SCORED = [
    {"sentence1": "a b", "sentence2": "größe, lang", "score": 2.5},
    {"sentence1": "a b", "sentence2": "d", "score": 4.0},
]


def test_scored_pairs_read_alike_from_every_format(tmp_path):
    csv = 'genre,score,sentence2,sentence1\nnews,2.500,"größe, lang",a b\nnews,4,d,a b\n'
    tsv = "score\tsentence1\tsentence2\tgenre\n2.5\ta b\tgröße, lang\tnews\n4.0\ta b\td\tnews\n"
    found = [
        read(write(tmp_path / "s.jsonl", jsonl(SCORED))),
        read(write(tmp_path / "s.jsonl.gz", jsonl([SCORED[0], {**SCORED[1], "score": 4}]))),
        read(write(tmp_path / "s.csv", csv)),
        read(write(tmp_path / "s.tsv", tsv)),
        read(parquet(tmp_path / "s.parquet", SCORED)),
    ]
    for data in found:
        assert data.scored == Table(
            {"sentence1": ["a b", "a b"], "sentence2": ["größe, lang", "d"], "score": [2.5, 4.0]}
        )
        assert data.pairs is data.corpus is None
        assert data.texts == ["a b", "größe, lang", "d"]
    assert {data.fingerprint for data in found} == {found[0].fingerprint}
    changed = read(write(tmp_path / "s.jsonl", jsonl([SCORED[0], {**SCORED[1], "score": 4.5}])))
    assert changed.fingerprint != found[0].fingerprint


def test_the_fingerprint_follows_the_content(tmp_path):
    base = read(write(tmp_path / "p.jsonl", jsonl(PAIRS)))
    other = read(write(tmp_path / "q.jsonl", jsonl([{**PAIRS[0], "positive": "changed"}, PAIRS[1]])))
    shifted = read(write(tmp_path / "r.tsv", "anchor\tpositive\nab\tc\n")).fingerprint
    assert base.fingerprint != other.fingerprint
    assert shifted != read(write(tmp_path / "s.tsv", "anchor\tpositive\na\tbc\n")).fingerprint


def test_texts_with_ids_titles_and_labels(tmp_path):
    rows = [
        {"_id": 7, "title": "T", "text": "x"},
        {"_id": "8", "title": "", "text": ""},
        {"_id": "9", "text": "y" * 200_000},
    ]
    corpus = read(write(tmp_path / "corpus.jsonl", jsonl(rows))).corpus
    assert corpus.ids == ["7", "8", "9"]
    assert [text[:3] for text in corpus.texts] == ["T x", "", "yyy"]
    labelled = read(write(tmp_path / "t.csv", "text,category\nhow,card\nwhy,top_up\n"))
    assert (labelled.corpus.texts, labelled.corpus.ids, labelled.labels) == (
        ["how", "why"],
        ["0", "1"],
        ["card", "top_up"],
    )
    assert read(write(tmp_path / "t.jsonl", '{"text": "a", "label": 3}\n')).labels == [3]


def test_csv_cells_may_be_longer_than_the_csv_module_likes(tmp_path):
    import csv

    before = csv.field_size_limit()
    data = read(write(tmp_path / "t.csv", "text\n" + "z" * 200_000 + "\n"))
    assert len(data.texts[0]) == 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("qrels", ["qrels.tsv", "qrels/test.tsv", "qrels/train.tsv", "qrels/dev.tsv"])
def test_beir_folder(tmp_path, gz, qrels):
    data = read(beir(tmp_path / "set", gz=gz, qrels=qrels))
    split = "test" if qrels == "qrels.tsv" else Path(qrels).stem
    assert data.name == "set"
    assert data.corpus.texts == ["T x", "y", ""]
    assert data.queries.ids == ["1", "2"]
    assert data.qrels == {split: {"1": {"a": 1.0, "b": 0.0}, "2": {"c": 2.0}}}
    assert data.retrieval(split).qrels == {"1": {"a": 1.0}, "2": {"c": 2.0}}


def test_beir_folder_has_one_fingerprint_plain_or_compressed(tmp_path):
    plain, packed = beir(tmp_path / "a"), beir(tmp_path / "b", gz=".gz")
    assert read(plain).fingerprint == read(packed).fingerprint
    beir(plain, judgements=QRELS.replace("1\ta\t1", "1\ta\t2"))
    assert read(plain).fingerprint != read(packed).fingerprint


def test_a_folder_with_a_corpus_alone_is_items(tmp_path):
    write(tmp_path / "corpus.jsonl", '{"_id": "a", "text": "x"}\n')
    data = read(tmp_path)
    assert (data.items().texts, data.training_pairs(), data.retrieval()) == (["x"], None, None)


def test_judgements_of_unknown_ids_are_counted(tmp_path):
    data = read(beir(tmp_path, judgements=QRELS + "1\tmissing\t1\t1\n9\ta\t1\t1\n"))
    assert data.notes == (
        "corpus.jsonl: 1 of 3 texts are empty and are not learnt from",
        "1 of 5 judgements in qrels.tsv name an unknown query and are not used",
        "1 of 5 judgements in qrels.tsv name a document that is not in the corpus; relevant ones count as not found",
    )
    assert set(data.qrels["test"]) == {"1", "2"}


def test_npy_stays_on_disk(tmp_path):
    np.save(tmp_path / "v.npy", np.arange(12, dtype=np.float32).reshape(4, 3))
    data = read(tmp_path / "v.npy")
    assert isinstance(data.corpus.vectors, np.memmap)
    assert data.corpus.vectors.dtype == np.float32
    assert data.corpus.ids == ["0", "1", "2", "3"]


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "i4"])
def test_other_numbers_become_float32_with_the_same_fingerprint(tmp_path, dtype):
    rows = np.asfortranarray(np.arange(12).reshape(4, 3))
    np.save(tmp_path / "v.npy", rows.astype(dtype))
    np.save(tmp_path / "w.npy", rows.astype("<f4", order="C"))
    data = read(tmp_path / "v.npy")
    assert data.corpus.vectors.dtype == np.float32
    assert data.corpus.vectors.dtype.isnative
    assert data.corpus.vectors.tolist() == rows.tolist()
    assert data.fingerprint == read(tmp_path / "w.npy").fingerprint


def test_safetensors_by_being_the_only_table_or_by_name(tmp_path):
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_file({"anything": rows, "ids": np.arange(2)}, tmp_path / "one.safetensors")
    save_file({"embeddings": rows, "other": rows + 1}, tmp_path / "named.safetensors")
    assert read(tmp_path / "one.safetensors").corpus.vectors.tolist() == rows.tolist()
    assert read(tmp_path / "named.safetensors").corpus.vectors.tolist() == rows.tolist()


def test_safetensors_in_bfloat16(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    save_torch({"vectors": torch.tensor([[1.0, 2.5]], dtype=torch.bfloat16)}, tmp_path / "v.safetensors")
    assert read(tmp_path / "v.safetensors").corpus.vectors.tolist() == [[1.0, 2.5]]


def test_parquet_with_a_column_of_vectors(tmp_path):
    data = read(
        parquet(tmp_path / "v.parquet", [{"id": 5, "embedding": [1.0, 2.0]}, {"id": 6, "embedding": [3.0, 4.0]}])
    )
    assert data.corpus.ids == ["5", "6"]
    assert data.corpus.vectors.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_datasets_name_with_its_configuration_and_split(monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(name, config, *, split):
        asked.append((name, config, split))
        return PAIRS

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert read("org/set:pair:dev").pairs["anchor"] == ["größe, lang", "b\nc"]
    read("set:test")
    read("set")
    assert asked == [("org/set", "pair", "dev"), ("set", None, "test"), ("set", None, "train")]


def test_a_datasets_name_that_cannot_be_loaded(monkeypatch):
    datasets = pytest.importorskip("datasets")

    def load(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DataError, match=r"^there is no file nothing, .* could not load that name \(no route\)$"):
        read("nothing")


def test_data_is_read_as_itself():
    data = Data("d", "f")
    assert read(data) is data


# --- what is refused, and how ---------------------------------------------------------------------------------

SCORED_ROW = '{"sentence1": "a", "sentence2": "b", "score": 1}\n'
BAD_FILES = [
    ("e.jsonl", "", "is empty; expected rows"),
    ("e.csv", "", "is empty"),
    ("h.csv", "anchor,positive\n", "is empty"),
    ("e.npy", b"", "e.npy is empty"),
    ("t.npy", "hello", "as an npy file of numbers .it does not begin as one does."),
    ("n.npy", b"\x93NUMPY\x01\x00v\x00{'descr'", "cannot be read as an npy"),
    ("j.jsonl", '{"text": "a"}\n{"text": \n', "j.jsonl line 2 is not JSON"),
    ("j.jsonl", "[1]\n", "line 1 holds list"),
    ("u.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', "u.jsonl line 2 holds the byte 0xff, which is not UTF-8"),
    ("u.csv", b"text\na\nb\xe9\n", "u.csv line 3 holds the byte 0xe9"),
    ("s.jsonl", '{"text": "\\ud800"}\n', "line 1 holds half a surrogate pair"),
    ("c.jsonl", '{"sentence1": "a", "b": "b"}\n', "columns sentence1, b; expected anchor, positive"),
    ("s.tsv", "score\tsentence1\tsentence2\n1\ta\tb\n\ta\tb\n", "s.tsv line 3: the score '' is not a number"),
    ("s.csv", "sentence1,sentence2,score\na,b,high\n", "s.csv line 2: the score 'high' is not a number"),
    ("s.csv", "sentence1,sentence2,score\na,b,nan\n", "s.csv line 2: the score 'nan' is not a number"),
    ("s.tsv", "sentence1\tsentence2\tscore\na\tb\t1\na\t\t1\n", "s.tsv line 3: sentence2 is empty"),
    ("s.jsonl", SCORED_ROW + '{"sentence1": "a", "sentence2": "b"}\n', "s.jsonl line 2: score is missing"),
    ("s.jsonl", SCORED_ROW + '{"sentence1": "a", "sentence2": "b", "score": NaN}\n', "line 2: the score nan is not"),
    ("s.jsonl", SCORED_ROW + '{"sentence1": "a", "sentence2": "b", "score": true}\n', "line 2: the score True is not"),
    ("s.jsonl", SCORED_ROW + '{"sentence1": "a", "sentence2": "b", "score": [1]}\n', r"line 2: the score \[1\] is not"),
    ("s.jsonl", SCORED_ROW + '{"sentence2": "b", "score": 1}\n', "line 2: sentence1 is missing; expected text"),
    ("c.csv", "a,b\n1,2\n", "has the columns a, b; expected anchor, positive"),
    ("c.csv", "text,text\n1,2\n", "names the column 'text' twice"),
    ("q.csv", 'text\nfine\n"open\nmore\n', "row that starts at line 3 has broken quoting"),
    ("q.csv", 'text,b\n"a"x,b\n', "row that starts at line 2 has broken quoting"),
    ("w.csv", "anchor,positive\na,b\na,b,c\n", "w.csv line 3 has 3 cells; expected 2"),
    ("w.tsv", "anchor\tpositive\na\n", "w.tsv line 2 has 1 cells; expected 2"),
    ("p.tsv", "anchor\tpositive\na\tb\na\t \n", "line 3: positive is empty"),
    ("p.jsonl", '{"anchor": "a", "positive": "b"}\n{"anchor": "a"}\n', "line 2: positive is missing"),
    ("p.jsonl", '{"anchor": ["a"], "positive": "b"}\n', "line 1: anchor is list; expected text"),
    (
        "i.jsonl",
        '{"_id": "x", "text": "a"}\n{"_id": "x", "text": "b"}\n',
        "line 2: the id 'x' is already that of .* line 1",
    ),
    ("i.jsonl", '{"_id": "x", "text": "a"}\n{"text": "b"}\n', "line 2: _id or id is None"),
    ("l.jsonl", '{"text": "a", "label": "x"}\n{"text": "b"}\n', "line 2: label is None"),
    ("t.txt", "hello\n", "cannot tell what .*t.txt holds"),
    ("v.safetensors", b"not one", "cannot be read as safetensors"),
    ("v.parquet", b"not one", "cannot be read as parquet"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_bad_files(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / name, content)).items()


def test_a_compressed_file_that_was_cut(tmp_path):
    whole = gzip.compress(jsonl([{"text": f"{n} {n**7}"} for n in range(3000)]).encode())
    (tmp_path / "c.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cannot be read past line \d+"):
        read(tmp_path / "c.jsonl.gz")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([[0.0, 1.0], [np.nan, 1.0]]), r"row 1 \(from 0\) holds NaN or an infinite"),
        (np.array([[0.0, 1.0], [0.0, 1.0], [0.0, -np.inf]], np.float32), "row 2"),
        (np.array([[1e300, 1.0]]), "row 0"),
        (np.zeros(3), r"has shape \(3,\); expected one vector a row"),
        (np.zeros((0, 3)), "so it is empty"),
        (np.array([["a", "b"]]), "expected numbers"),
    ],
)
def test_bad_vectors(tmp_path, rows, message):
    np.save(tmp_path / "v.npy", rows)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "v.npy")


def test_rows_of_differing_width(tmp_path):
    ragged = np.empty(2, dtype=object)
    ragged[:] = [[1.0, 2.0], [3.0]]
    np.save(tmp_path / "v.npy", ragged, allow_pickle=True)
    with pytest.raises(DataError, match="rows of differing width"):
        read(tmp_path / "v.npy")
    with pytest.raises(DataError, match="row 2 has 1 values; expected 2"):
        read(parquet(tmp_path / "v.parquet", [{"vector": [1.0, 2.0]}, {"vector": [3.0]}]))


def test_a_cut_npy(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((100, 8), np.float32))
    whole = (tmp_path / "v.npy").read_bytes()
    (tmp_path / "v.npy").write_bytes(whole[:-40])
    with pytest.raises(DataError, match="cut files"):
        read(tmp_path / "v.npy")


def test_safetensors_with_several_tables_needs_a_name(tmp_path):
    save_file({"a": np.zeros((1, 2)), "b": np.zeros((1, 2))}, tmp_path / "v.safetensors")
    with pytest.raises(
        DataError, match=r"holds 2 two-dimensional tensors of floats \(a, b\); expected one, or one named"
    ):
        read(tmp_path / "v.safetensors")


@pytest.mark.parametrize("source", ["./no.jsonl", "no.csv", "/no/folder", Path("no"), "a/b/c"])
def test_a_path_that_is_not_there(source):
    with pytest.raises(DataError, match=r"does not exist"):
        read(source)


def test_a_folder_that_is_not_beir(tmp_path):
    with pytest.raises(DataError, match=r"holds no corpus\.jsonl"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("judgements", "message"),
    [
        ("1\ta\t3\n2\tb\t1\n", "has the columns 1, a, 3; expected query-id"),
        ("query-id\tcorpus-id\tscore\n1\ta\tyes\n", r"qrels\.tsv line 2: the score 'yes'"),
        ("query-id\tcorpus-id\tscore\n1\ta\tnan\n", "score 'nan'"),
        ("query-id\tcorpus-id\tscore\n8\ta\t1\n1\tz\t1\n", "none of its 2 judgements"),
        ("query-id\tcorpus-id\tscore\n", "empty"),
        ("", "empty"),
    ],
)
def test_bad_judgements(tmp_path, judgements, message):
    with pytest.raises(DataError, match=message):
        read(beir(tmp_path, judgements=judgements))


def test_judgements_without_queries(tmp_path):
    beir(tmp_path)
    (tmp_path / "queries.jsonl").unlink()
    with pytest.raises(DataError, match=r"holds no queries\.jsonl"):
        read(tmp_path)


def test_an_empty_corpus(tmp_path):
    write(beir(tmp_path) / "corpus.jsonl", "")
    with pytest.raises(DataError, match=r"corpus\.jsonl is empty"):
        read(tmp_path)


@pytest.mark.parametrize("form", ["jsonl", "parquet", "npz"])
@pytest.mark.parametrize("labels", [["x", "y", "x"], [2, 0, 1]], ids=["words", "numbers"])
def test_vectors_with_labels(tmp_path, form, labels):
    x = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    path, plain = tmp_path / f"v.{form}", tmp_path / "v.npy"
    np.save(plain, x)
    rows = [{"vector": vector, "label": label} for vector, label in zip(x.tolist(), labels, strict=True)]
    if form == "npz":
        np.savez(path, vectors=x, labels=np.array(labels))
    elif form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = read(path)
    assert data.labels == labels
    assert np.array_equal(data.corpus.vectors, x)
    assert data.fingerprint == read(plain).fingerprint  # labels are no part of it: files were read without them before


def test_labels_that_are_none_are_told_and_the_vectors_read(tmp_path):
    rows = [{"vector": [1.0, 2.0], "label": "x"}, {"vector": [2.0, 1.0], "label": None}]
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = read(tmp_path / "v.jsonl")
    assert (data.labels, len(data.items())) == (None, 2)
    assert any("the labels are not read: " in note and "line 2: label is None" in note for note in data.notes)
    np.savez(tmp_path / "v.npz", vectors=np.eye(3), labels=np.array([0.5, 1.5, 2.5]))
    data = read(tmp_path / "v.npz")
    assert data.labels is None
    assert "the labels are float64 of shape (3,) and are not read" in data.notes[0]
