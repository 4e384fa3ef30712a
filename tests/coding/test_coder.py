from __future__ import annotations

import json

import numpy as np
import pytest

import anysize as az
from anysize.coding import fit
from anysize.coding.coder import Coder
from anysize.coding.reading.data import read_folder
from anysize.coding.records.documents import normalised
from anysize.core.errors import AnysizeError, DataError, SizeError


def test_it_keeps_every_promise_of_a_nested_model(coder):
    texts = ["хр. холецистит", "ИБС", "астма"]
    az.testing.check_nested_model(coder, texts, shape=lambda size: (3, size.dims), items=["ИБС; астма.", ""])


def test_it_finds_and_codes_what_stands_in_a_text(coder):
    text = "хр. холецистит, обострение; ИБС."
    (found,) = coder.run([text], top=3)
    assert found["text"] == text
    assert [(one["mention"], one["code"]) for one in found["spans"]] == [("хр. холецистит", "K81.1"), ("ИБС", "I25.9")]
    assert all(text[one["start"] : one["end"]] == one["mention"] for one in found["spans"])
    assert {one["code"] for one in found["codes"]} >= {"K81.1", "I25.9"}
    assert all(one["score"] >= coder.settings["threshold"] for one in found["codes"])
    assert found["spans"][0]["name"] == "Хронический холецистит"
    assert len(found["spans"][0]["others"]) == 2
    json.dumps(found)


def test_empty_and_very_long_texts_are_coded_too(coder):
    assert coder.run(["", "  \n "]) == [
        {"text": "", "spans": [], "codes": []},
        {"text": "  \n ", "spans": [], "codes": []},
    ]
    long = "жалоб нет, контроль через месяц.\n" * 300 + "хр. холецистит."
    (found,) = coder.at(dims=4, candidates=10).run([long])
    assert [one["mention"] for one in found["spans"]][-1] == "хр. холецистит"


def test_linking_at_full_size_is_an_exhaustive_vote(coder):
    """Against the definition: cosines with all names, both terms, a kernel over the nearest mentions and rows."""
    view, names = coder.at(), coder.names
    mentions = ["холецист", "боль пояснице", "диабет"]
    everything = [one.names for one in view.linker.candidates(mentions, 16, len(names.texts), short=None)]
    assert all(sorted(one) == list(range(len(names.texts))) for one in everything)
    for mention, near in zip(mentions, view.linker.candidates(mentions, 16, len(names.texts), short=None), strict=True):
        dense = view.vectors([mention], 16)[0] @ view.vectors(names.texts, 16).T
        rows = view.linker.ngrams.rows([mention]) @ view.linker.ngrams.rows(names.texts).T
        lexical = rows.toarray()[0]
        similar = (dense + lexical) / 2
        similar[: names.rows] *= 1.05
        nearest = np.argsort(-similar, kind="stable")
        voters = [*[n for n in nearest if n < names.rows][:20], *[n for n in nearest if n >= names.rows][:60]]
        tally: dict[int, float] = {}
        for name in voters:
            for code, count in names.entries[name].items():
                tally[code] = tally.get(code, 0) + np.exp(similar[name] / 0.06) * count
        total = sum(tally.values())
        wanted = {code: value / total for code, value in tally.items()}
        assert dict(view.linker.shares(near)) == pytest.approx(wanted, rel=1e-3, abs=1e-6)


def test_a_shortlist_by_a_prefix_is_rescored_by_all_coordinates(coder):
    queries = coder.vectors(["астма", "гастрит"], 16)
    for query, (rows, scores) in zip(queries, coder.names.nearest(queries, 16, 10, short=4), strict=True):
        every = coder.vectors(coder.names.texts, 16)
        short = every[:, :4] / np.linalg.norm(every[:, :4], axis=1, keepdims=True)
        kept = np.argsort(-(short @ query[:4]), kind="stable")[:10]
        assert set(rows) == set(kept)
        assert scores == pytest.approx((every[rows] @ query), abs=1e-4)


def test_saved_and_cut_it_codes_alike(coder, tmp_path):
    texts = ["гипертоническая болезнь; камень почки.", "ОРЗ. остеохондроз"]
    coder.save(tmp_path / "coder")
    again = az.load(tmp_path / "coder")
    assert isinstance(again, Coder)
    assert again.run(texts, top=2) == coder.run(texts, top=2)
    size = {"dims": 8, "candidates": 10}
    coder.extract(**size).save(tmp_path / "small")
    small = az.load(tmp_path / "small")
    assert small.nesting.full == az.Size(size)
    assert small.run(texts, top=2) == coder.at(**size).run(texts, top=2)
    bytes_ = [sum(f.stat().st_size for f in (tmp_path / one).rglob("*.npy")) for one in ("coder", "small")]
    assert bytes_[1] <= bytes_[0]


def test_a_known_mention_is_not_written_out_and_another_is(coder):
    linker = coder.linker
    assert linker.variants("ИБС") == ["ИБС"]  # a training mention as it stands
    assert linker.variants("СД") == ["СД", "сахарный диабет"]


def test_back_off_gives_the_parent_of_siblings_that_lie_close(coder):
    backed = Coder(coder.nesting, coder.encoder, {**coder.settings, "back_off": 0.3})
    backed.dictionary = coder.dictionary
    close, apart = [("K81.0", 0.4), ("K81.1", 0.3)], [("K81.0", 0.8), ("K81.1", 0.1)]
    assert backed._backed_off(close)[0] == ("K81", 0.4)
    assert backed._backed_off(apart) == apart
    assert backed._backed_off([("K81.0", 0.4), ("M54.5", 0.3)])[0][0] == "K81.0"
    assert coder._backed_off(close) == close


def test_measured_end_to_end_and_on_gold_spans(coder, clinic):
    frontier = az.measure(coder, read_folder(clinic), arms=[], sizes=[coder.nesting[0], coder.nesting.full])
    full = frontier.arm("nested")[-1]
    assert frontier.metric == "code F1"
    assert full.metrics["code F1"] > 0.9
    assert full.metrics["NER F1"] > 0.9
    assert full.metrics["accuracy@1"] <= full.metrics["accuracy@5"] <= full.metrics["accuracy@15"]
    low, high = full.intervals["code F1"]
    assert low <= full.metrics["code F1"] <= high
    links = [(span, one) for one in read_folder(clinic).to_measure(False) for span in one.spans]
    right = [coder.link([span.mention], 1)[0][0][0] == span.code for span, _ in links]
    assert full.metrics["accuracy@1"] == pytest.approx(np.mean(right))


def test_the_rival_without_vectors_is_a_vote_by_tf_idf_and_needs_no_data(coder, clinic):
    from anysize.coding.rivals import tfidf

    (rival,) = tfidf(coder, None)
    names, ngrams = coder.names, coder.linker.ngrams
    (near,) = rival.candidates(["холецист"])
    scores = (ngrams.rows(["холецист"]) @ ngrams.rows(names.texts).T).toarray()[0]
    assert near.names.tolist() == sorted(np.argsort(-scores, kind="stable")[:20].tolist())
    assert near.similar(coder.linker.how) == pytest.approx(scores[near.names])
    frontier = az.measure(coder, read_folder(clinic), sizes=[coder.nesting.full])
    assert list(frontier.arms) == ["nested", "tf-idf"]


def test_the_plain_rival_is_trained_for_the_full_size_and_cut(coder, clinic):
    frontier = az.measure(coder, read_folder(clinic), arms=["plain"], sizes=[coder.nesting[0], coder.nesting.full])
    assert [one.size for one in frontier.arm("plain")] == [coder.nesting[0], coder.nesting.full]


def test_codes_of_the_test_set_that_the_dictionary_lacks_are_missed_and_said(coder, clinic):
    from dataclasses import replace

    data = read_folder(clinic)
    moved = []
    for one in data.documents:
        spans = [replace(s, code="Q99.9" if one.split == "test" and s.code == "M42.1" else s.code) for s in one.spans]
        moved.append(replace(one, spans=tuple(spans)))
    assert any(span.code == "M42.1" for one in data.to_measure(False) for span in one.spans)
    changed = replace(data, documents=tuple(moved), fingerprint="other")
    frontier = az.measure(coder, changed, arms=[], sizes=[coder.nesting.full])
    before = az.measure(coder, data, arms=[], sizes=[coder.nesting.full])
    assert any("lacks 1 of the codes" in note for note in frontier.meta["notes"])
    assert frontier.full().metrics["code F1"] < before.full().metrics["code F1"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"dims": (8, 4)}, SizeError, "dims are whole numbers of at least 1, increasing; got 8, 4"),
        ({"candidates": ()}, SizeError, "candidates are whole numbers"),
        ({"folds": 1}, AnysizeError, "folds is 0, or a number of parts of at least 2; got 1"),
        ({"lexical": -1.0}, AnysizeError, "weight of at least 0"),
        ({"temperature": 0.0}, AnysizeError, "above zero"),
    ],
)
def test_options_that_make_no_sense_are_refused(method, options, error, said):
    from dataclasses import replace

    with pytest.raises(error, match=said):
        replace(method, **options)


def test_too_few_documents_are_refused(method):
    with pytest.raises(DataError, match="too few to learn from"):
        method.fit(az.read([{"text": "астма", "code": "J45.0"}, {"text": "гастрит", "code": "K29.5"}]))


def test_a_table_without_a_dictionary_can_be_learnt_from(method):
    from dataclasses import replace

    words = (("астма", "J45"), ("гастрит", "K29"))
    rows = [{"text": f"{word} {n}", "code": code} for n in range(6) for word, code in words]
    made = replace(method, folds=0).fit(az.read(rows))
    assert made.link(["астма"], 1)[0][0][0] == "J45"
    assert normalised("астма 0") in made.names.texts


def test_multi_similarity_and_coarse_prefixes_learn_too(clinic, method):
    from dataclasses import replace

    for options in ({"loss": "multi-similarity"}, {"coarse": True}):
        made = replace(method, folds=0, **options).fit(read_folder(clinic))
        assert made.about["losses"][-1] < made.about["losses"][0]
        assert made.link(["хронический холецистит"], 1)[0][0][0] == "K81.1"


@pytest.mark.parametrize("altered", [False, True], ids=["as it was left", "altered meanwhile"])
def test_a_run_that_was_stopped_goes_on_and_ends_in_the_same_coder(
    altered, clinic, method, coder, tmp_path, monkeypatch
):
    made: list[str] = []
    whole = fit._made

    def stopping(method, documents, dictionary, backbone, kept):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(kept.name)
        return whole(method, documents, dictionary, backbone, kept)

    monkeypatch.setattr(fit, "_made", stopping)
    with pytest.raises(KeyboardInterrupt):
        az.fit(read_folder(clinic), method=method, out=tmp_path / "coder")
    assert made == ["whole", "fold-0"]
    if altered:  # what was kept is learnt again, not read
        (kept,) = (tmp_path / "coder.partial").rglob("whole/encoder.safetensors")
        content = bytearray(kept.read_bytes())
        content[-1] ^= 1
        kept.write_bytes(content)
    trained = []
    monkeypatch.setattr(fit, "_made", whole)
    for name in ("_learn", "CRFDetector"):
        monkeypatch.setattr(fit, name, _counted(getattr(fit, name), name, trained))
    again = az.fit(read_folder(clinic), method=method, out=tmp_path / "coder", resume=True)
    assert trained == ["_learn"] * altered + ["_learn", "CRFDetector.fit"]  # of the second fold alone
    for name, value in coder.saved_state().items():
        assert (again.saved_state()[name] == value).all(), name
    assert again.about["folds"] == coder.about["folds"]
    assert again.about["losses"] == coder.about["losses"]
    assert again.detector.content == coder.detector.content
    assert not (tmp_path / "coder.partial").exists()


def _counted(what, name, seen):
    """A function that notes its calls, or a class that notes those of its `fit`."""
    if not isinstance(what, type):
        return lambda *given, **options: (seen.append(name), what(*given, **options))[1]

    class Counting(what):
        @classmethod
        def fit(cls, *given, **options):
            seen.append(f"{name}.fit")
            return what.fit(*given, **options)

    return Counting
