"""Training beside the model that makes the rows: the same rows, mixed, in bounded memory, and resumable."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

import anysize as az
from anysize.backbones.packaged import packaged
from anysize.backbones.site import Site
from anysize.core.data.read import read
from anysize.core.errors import AnysizeError, DataError
from anysize.sparse import CSR, BatchTopK, MatryoshkaSAE
from anysize.sparse.measuring.rebuilt import rows_of, split_of
from anysize.sparse.rows.source import Source
from anysize.sparse.rows.stream import Groups, StreamRows
from tests.conftest import WORDS, flips, sentences


def texts_of_many_lengths(count: int) -> list[str]:
    rng = random.Random(3)
    return [" ".join(rng.choice(WORDS) for _ in range(rng.randint(2, 14))) for _ in range(count)]


def numbered(groups: Groups, width: int = 3):
    """A model whose rows say which text and which word they are of."""

    def run(texts: list[str]) -> np.ndarray:
        calls.append(len(texts))
        found = [(int(text.split(":")[0]), word) for text in texts for word in range(int(text.split(":")[1]))]
        rows = np.zeros((len(found), width), np.float32)
        rows[:, :2] = found
        return rows

    calls: list[int] = []
    return run, calls


def counted(count: int) -> list[str]:
    rng = random.Random(5)
    return [f"{number}:{rng.randint(1, 9)}" for number in range(count)]


def seen(rows: StreamRows, number: int, size: int, skip: int = 0) -> np.ndarray:
    return np.concatenate([batch.x.numpy() for batch in rows.batches(number, size, skip)])


def as_set(rows: np.ndarray) -> set[tuple[float, ...]]:
    return {tuple(row) for row in rows.tolist()}


def test_a_pass_sees_every_row_of_its_texts_once_in_a_new_order():
    groups = Groups(counted(400), 4)
    run, _ = numbered(groups)
    rows = StreamRows(groups, run, buffer=200, seed=1)
    everything = as_set(run(groups.texts_of(held=False)))
    first, second = seen(rows, 0, 8), seen(rows, 1, 8)
    for found in (first, second):
        assert len(as_set(found)) == len(found)
        assert as_set(found) <= everything
        assert len(everything) - len(found) < 8  # a last batch that is not whole is left out
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, seen(rows, 0, 8))
    held = as_set(rows.held_out().numpy())
    assert held == as_set(run(groups.texts_of(held=True)))
    assert not held & everything
    assert 4 <= int(groups.held.sum()) <= 20
    assert rows.count == len(everything)  # few enough to be read whole for the sample
    # Neighbours in the text do not stand together: rows of a batch come from many texts.
    assert np.mean([len(set(first[start : start + 8, 0])) for start in range(0, 800, 8)]) > 7


def test_a_buffer_is_refilled_when_it_is_half_empty():
    groups = Groups([f"{number}:5" for number in range(400)], 4)
    run, calls = numbered(groups)
    rows = StreamRows(groups, run, buffer=200, seed=1)
    assert rows.width == 3
    calls.clear()
    batches = rows.batches(0, 20)
    next(batches)
    assert len(calls) == 10  # 200 rows
    for _ in range(5):
        next(batches)
    assert len(calls) == 10  # 100 wait before the last, 80 after it
    next(batches)
    assert len(calls) == 16


def test_counts_that_were_altered_are_counted_again(tmp_path: Path):
    groups = Groups(counted(400), 4)
    whole = seen(StreamRows(groups, numbered(groups)[0], buffer=200, seed=1, folder=tmp_path), 0, 16)
    for file in sorted(tmp_path.iterdir()):
        for _ in flips(file, 8):
            again = StreamRows(groups, numbered(groups)[0], buffer=200, seed=1, folder=tmp_path)
            assert (again.counts == -1).all()
    (tmp_path / "stream-0.npy").write_bytes(b"no array")
    resumed = StreamRows(groups, numbered(groups)[0], buffer=200, seed=1, folder=tmp_path)
    np.testing.assert_array_equal(np.concatenate([one.x.numpy() for one in resumed.batches(0, 16, 7)]), whole[16 * 7 :])


def test_rows_that_were_altered_are_made_again(tmp_path: Path, encoder_path: Path, monkeypatch):
    monkeypatch.setattr("anysize.sparse.rows.source._TEXTS", 20)
    source, texts = Source(str(encoder_path)), sentences(50)
    rows = source.rows(texts, tmp_path)[:]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 7  # three shards, what they held when they were written, and what they are of
    made = []
    real = Source.runner
    monkeypatch.setattr(
        Source, "runner", lambda one, **how: lambda some: made.append(len(some)) or real(one, **how)(some)
    )
    assert np.array_equal(source.rows(texts, tmp_path)[:], rows)
    assert made == []
    for name in names:
        for _ in flips(tmp_path / name, 5):
            if name == "rows.json":
                with pytest.raises(AnysizeError):
                    source.rows(texts, tmp_path)
                continue
            made.clear()
            assert np.array_equal(source.rows(texts, tmp_path)[:], rows)
            assert made == [10 if "000002" in name else 20]


@pytest.mark.parametrize("skip", [0, 1, 7, 60])
def test_what_follows_a_skip_is_what_would_have_followed(skip, tmp_path: Path):
    groups = Groups(counted(400), 4)
    run, _ = numbered(groups)
    whole = seen(StreamRows(groups, run, buffer=200, seed=1, folder=tmp_path), 0, 16)
    run, calls = numbered(groups)
    resumed = StreamRows(groups, run, buffer=200, seed=1, folder=tmp_path)
    assert resumed.width == 3
    calls.clear()
    batches = resumed.batches(0, 16, skip)
    np.testing.assert_array_equal(next(batches).x.numpy(), whole[16 * skip : 16 * skip + 16])
    # Counts are known from before, so only groups that are still in the buffer are read: not those of the whole way.
    assert len(calls) < 45
    if skip == 60:
        assert len(calls) < 0.6 * np.isin(np.arange(len(groups)), np.unique(whole[: 16 * 60, 0] // 4)).sum()
    np.testing.assert_array_equal(np.concatenate([one.x.numpy() for one in batches]), whole[16 * skip + 16 :])


def test_memory_is_that_of_the_buffer_whatever_the_texts():
    texts = [f"{number}:8" for number in range(12_000)]
    groups = Groups(texts, 16)
    run, _ = numbered(groups, width=64)
    rows = StreamRows(groups, run, buffer=1024)
    rows.sample()
    tracemalloc.start()
    count = sum(len(batch.x) for batch in rows.batches(0, 128))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count > 80_000  # 20 MB of float32
    assert peak < 3 << 20


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in [*texts_of_many_lengths(150), " "]))
    return path


def test_rows_beside_a_model_are_those_that_would_be_stored(texts: Path, encoder_path: Path, tmp_path: Path):
    data, source = read(texts), Source(str(encoder_path), "layer.1")
    stored = source.of(data, tmp_path)[:]
    groups = source.groups(data)
    rows = StreamRows(groups, source.runner(), buffer=300)
    found = np.concatenate([rows.read(group) for group in range(len(groups))])
    np.testing.assert_array_equal(found, stored)
    learnt = np.concatenate([seen(rows, 0, 1), rows.held_out().numpy()])
    order = [np.lexsort(part.T) for part in (learnt, stored)]
    np.testing.assert_array_equal(learnt[order[0]], stored[order[1]])


def test_a_very_long_row_is_left_out_of_its_group_alone(encoder_path: Path):
    site, texts = Site(str(encoder_path), "layer.1"), sentences(40)
    before = site.rows(texts)

    def hook(_module, _inputs, output):
        hidden = output[0] if isinstance(output, tuple) else output
        hidden[0, 2] *= 1e4
        return output

    handle = site.module.register_forward_hook(hook)
    site.rows(texts)  # the hook of `rows` is later, so it sees the long one
    found = site.rows(texts)
    handle.remove()
    assert len(found) == len(before) - 3  # one in each of three groups


def test_streamed_training_resumes_to_the_same_weights(texts: Path, encoder_path: Path, tmp_path: Path, anysize):
    words = ["fit", texts, "--method", "matryoshka-sae", "--model", encoder_path, "--site", "layer.1", "--stream"]
    words += ["--latents", "16,64", "--active", "4", "--steps", "60", "--batch-size", "64", "--buffer", "256"]
    assert anysize(*words, "--out", tmp_path / "whole").status == 0
    from anysize.sparse.learning.learner import Learner

    def move(self, step, steps, real=Learner.move):
        if step == 45:
            raise KeyboardInterrupt
        real(self, step, steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "move", move)
        assert anysize(*words, "--out", tmp_path / "sae").status == 130
    note = json.loads((tmp_path / "sae.partial" / "checkpoints" / "step-42" / "state.json").read_text())
    assert note["pass"] > 1  # texts are read several times
    assert not list((tmp_path / "sae.partial").rglob("0*.npy"))  # and nothing of their rows is stored
    assert anysize(*words, "--out", tmp_path / "sae", "--resume").status == 0
    whole, resumed = (az.load(tmp_path / name) for name in ("whole", "sae"))
    torch.testing.assert_close(dict(resumed.state_dict()), dict(whole.state_dict()), atol=0, rtol=0)
    assert whole.fingerprint == resumed.fingerprint

    data = read(texts)
    split = split_of(whole, data, tmp_path / "split")
    groups = Source(str(encoder_path), "layer.1").groups(data)
    wanted = Site(str(encoder_path), "layer.1").rows(groups.texts_of(held=True))
    np.testing.assert_array_equal(split.rows[np.flatnonzero(split.held)], wanted)
    assert len(split.rows) == len(rows_of(whole, data, tmp_path / "rows"))
    said = anysize("measure", tmp_path / "whole", texts, "--arms", "sorted", "--json")
    assert said.status == 0, said.err
    assert "held out" in said.json["meta"]["task"]


def test_what_cannot_be_streamed_is_refused(texts: Path, encoder_path: Path):
    with pytest.raises(AnysizeError, match="it needs model, and no cache"):
        BatchTopK(stream=True)
    with pytest.raises(AnysizeError, match="it needs model, and no cache"):
        BatchTopK(stream=True, model="m", cache="c")
    with pytest.raises(AnysizeError, match="buffer must be above zero"):
        BatchTopK(stream=True, model="m", buffer=0)
    with pytest.raises(AnysizeError, match="need rows that are stored"):
        CSR(stream=True, model=str(encoder_path), positives="pair").fit(read(texts))
    with pytest.raises(DataError, match="150 texts are too few to stream, which takes 1024 at a time"):
        MatryoshkaSAE(stream=True, model=str(encoder_path)).fit(read(texts))


@pytest.mark.skipif(packaged("all-MiniLM-L6-v2") is None, reason="needs the demo extra")
def test_a_module_of_a_packaged_model_is_found_by_its_name():
    assert Site("all-MiniLM-L6-v2", "layer.3").rows(["hello there"]).shape == (2, 384)
