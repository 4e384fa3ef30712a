import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.text import Embedder, Encoder, NestedEncoder, TaskLoRA, by_sentences, by_tokens, late_chunk, late_chunks
from anysize.text.long.windows import Document
from tests.conftest import WIDTH, sentences

LONG = ". ".join(sentences(20, seed=3)) + "."  # about 140 tokens; the model reads 32, and has 64 positions


@pytest.fixture
def model(encoder_path):
    return NestedEncoder.from_pretrained(encoder_path, layers=(1, 2), dims=(8, WIDTH))


def cosine(left, right):
    return float(np.dot(left, right) / np.linalg.norm(left) / np.linalg.norm(right))


def test_one_chunk_over_the_whole_text_is_ordinary_encoding(model, encoder_path):
    for text in sentences(3):
        for view in (model, model.at(layers=1, dims=8)):
            (vector,) = late_chunk(view, text, [(0, len(text))])
            np.testing.assert_allclose(vector, view.encode([text])[0], atol=1e-6)
        plain = SentenceTransformer(str(encoder_path), device="cpu")
        (vector,) = late_chunk(plain, text, [(0, len(text))])
        np.testing.assert_allclose(vector, plain.encode([text], normalize_embeddings=True)[0], atol=1e-6)


def test_through_a_head_it_is_what_the_head_makes_of_the_whole_text(encoder_path):
    weight = torch.randn(16, WIDTH, generator=torch.Generator().manual_seed(0))
    model = Embedder(Nesting(dims=(8, 16)), WIDTH, encoder=Encoder(str(encoder_path)), weight=weight).at(dims=8)
    text = sentences(1)[0]
    np.testing.assert_allclose(late_chunk(model, text, [(0, len(text))])[0], model.encode([text])[0], atol=1e-6)


def test_with_task_adapters_it_is_what_the_task_makes_of_the_whole_text(encoder_path):
    model = TaskLoRA(str(encoder_path), dims=(8, WIDTH), instructions={"retrieval.passage": "bador: "})
    with torch.no_grad():
        for place, weight in enumerate(model.adapters.weights().values()):
            weight.add_(0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(place)))
    text = sentences(1)[0]
    with pytest.raises(AnysizeError, match="for_task"):
        late_chunk(model, text, [(0, len(text))])
    passage, separation = model.for_task("retrieval.passage"), model.for_task("separation").at(dims=8)
    for view in (passage, separation, passage):
        (vector,) = late_chunk(view, text, [(0, len(text))], pool_prefix=True)
        np.testing.assert_allclose(vector, view.encode([text])[0], atol=1e-6)
    (without,) = late_chunk(passage, text, [(0, len(text))])
    assert np.abs(without - passage.encode([text])[0]).max() > 1e-3


def test_each_chunk_is_the_mean_of_its_tokens_in_the_whole_text(model):
    """Against tokens found word by word: here every word is one token, after [CLS]."""
    text = sentences(1)[0]
    words, spans, place = text.split(), [], 0
    for word in words:
        spans.append((place, place + len(word)))
        place += len(word) + 1
    inputs = model.encoder.tokens([text])
    states = model.encoder.states(inputs, [2])[2][0].detach().numpy()
    found = late_chunk(model, text, spans)
    assert cosine(found[1], states[2]) == pytest.approx(1, abs=1e-5)
    assert cosine(found[0], states[:2].mean(axis=0)) == pytest.approx(1, abs=1e-5)  # with the token before it
    assert cosine(found[-1], states[-2:].mean(axis=0)) == pytest.approx(1, abs=1e-5)  # with the one after it


def test_a_chunk_has_seen_its_neighbours(model):
    texts = [f"{first}. {second}." for first, second in zip(sentences(3, 1), sentences(3, 2), strict=True)]
    for text in texts:
        spans = by_sentences()(text)
        late = late_chunk(model, text, spans)
        alone = model.encode([text[start:end] for start, end in spans])
        assert np.abs(late - alone).max() > 1e-3


def test_chunks_partition_the_tokens(model):
    """Means weighted by the number of tokens add up to the mean over the whole text."""
    text = sentences(1, seed=5)[0] + ". " + sentences(1, seed=6)[0]
    backbone = model.encoder
    total = len(backbone.tokenizer(text)["input_ids"])

    for chunker in (by_sentences(), by_tokens(backbone.tokenizer, 3), by_tokens(backbone.tokenizer, 1)):
        spans = list(chunker(text))
        assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]]
        document = Document(backbone, text, spans, "", False)
        covered = [place for tokens in document.ranges for place in tokens]
        assert covered == list(range(total))


def test_a_text_longer_than_the_window_is_read_in_overlapping_windows(model):
    spans = by_sentences(2)(LONG)
    document = LONG
    found = late_chunk(model, document, spans, window=32, overlap=6)
    # The same by hand: tokens 0..29, then windows of 30 that begin 24 further on, the last one aligned to the end.
    ids = model.encoder.tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"]
    states, start = [], 0
    while True:
        part = ids[start : start + 30]
        inputs = torch.tensor([[2, *part, 3]])
        with torch.no_grad():
            state = model.encoder.states({"input_ids": inputs}, [2])[2][0]
        closes = start + 30 >= len(ids)
        known = len(states) - 1  # tokens of the text so far; the first state is [CLS]'s
        own = state[0 if start == 0 else 1 + known - start :]
        states += list(own if closes else own[:-1])
        if closes:
            break
        start = min(start + 24, len(ids) - 30)
    assert len(states) == len(ids) + 2
    ends = [end for _, end in model.encoder.tokenizer(document, add_special_tokens=False, return_offsets_mapping=True,
                                                      verbose=False)["offset_mapping"]]  # fmt: skip
    for row, (begin, end) in enumerate(spans):
        tokens = [1 + place for place, last in enumerate(ends) if begin < last <= end]
        tokens = [*([0] if row == 0 else []), *tokens, *([len(states) - 1] if row == len(spans) - 1 else [])]
        expected = torch.stack([states[token] for token in tokens]).mean(dim=0)
        np.testing.assert_allclose(found[row], expected / expected.norm(), atol=1e-5)


def test_batching_texts_changes_nothing(model):
    texts = [LONG, *sentences(5), LONG[:200]]
    together = late_chunks(model, texts, by_sentences())
    assert len(together) == len(texts)
    for text, vectors in zip(texts, together, strict=True):
        np.testing.assert_allclose(vectors, late_chunk(model, text, by_sentences()), atol=1e-5)


def test_a_prefix_is_read_and_not_pooled_unless_asked(model):
    text, prefix = sentences(1)[0], "lomer nusel "
    ((plain,), (seen,), (pooled,)) = (
        late_chunk(model, text, [(0, len(text))], **options)
        for options in ({}, {"prefix": prefix}, {"prefix": prefix, "pool_prefix": True})
    )
    assert np.abs(plain - seen).max() > 1e-4
    np.testing.assert_allclose(pooled, model.encode([prefix + text])[0], atol=1e-6)
    inputs = model.encoder.tokens([prefix + text])
    states = model.encoder.states(inputs, [2])[2][0].detach().numpy()
    count = len(model.encoder.tokenizer(prefix, add_special_tokens=False)["input_ids"])
    assert cosine(seen, np.delete(states, range(1, 1 + count), axis=0).mean(axis=0)) == pytest.approx(1, abs=1e-5)


def test_sentences_are_found_and_blank_text_has_none():
    text = 'He said "no." Then he left!\n\nWhy? Nobody knows'
    parts = [text[start:end].strip() for start, end in by_sentences()(text)]
    assert parts == ['He said "no."', "Then he left!", "Why?", "Nobody knows"]
    assert [text[start:end].strip() for start, end in by_sentences(3)(text)] == [text[:33].strip(), "Nobody knows"]
    assert by_sentences()(" \n ") == []
    assert [("一。二。"[start:end]) for start, end in by_sentences()("一。二。")] == ["一。", "二。"]


def test_an_empty_text_has_no_chunks(model):
    assert late_chunk(model, "", by_sentences()).shape == (0, WIDTH)


def test_what_cannot_be_chunked_is_refused_in_one_sentence(model, encoder_path):
    with pytest.raises(DataError, match=r"span 1 is \(3, 900\)"):
        late_chunk(model, "balan demer", [(0, 3), (3, 900)])
    with pytest.raises(DataError, match="holds no token"):
        late_chunk(model, "balan  demer", [(0, 5), (5, 7)])
    with pytest.raises(DataError, match=r"expected \(start, end\)"):
        late_chunk(model, "balan", [3])
    with pytest.raises(AnysizeError, match="reads 1 to 64 tokens"):
        late_chunk(model, LONG, by_sentences(), window=65)
    with pytest.raises(AnysizeError, match="overlap of 40"):
        late_chunk(model, LONG, by_sentences(), overlap=40)
    first = Transformer(str(encoder_path / "bert") if (encoder_path / "bert").exists() else str(encoder_path))
    by_cls = SentenceTransformer(modules=[first, Pooling(WIDTH, pooling_mode="cls")], device="cpu")
    with pytest.raises(AnysizeError, match="pools by cls"):
        late_chunk(by_cls, "balan", [(0, 5)])
    with pytest.raises(AnysizeError, match="has no encoder"):
        late_chunk(Embedder(Nesting(dims=(4,)), 4), "balan", [(0, 5)])
