"""Names, concept search, edits and bias analysis, against plain arithmetic."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.sparse.concepts.editing import bias, concept_search, edit, neighbours_after
from anysize.sparse.concepts.naming import directions, embed_words, name_concepts, read_words
from anysize.sparse.measuring.probing import fit_probe
from tests.sparse.making import LATENTS, WIDTH, inputs, random_sae

SAE = random_sae("topk").requires_grad_(False)
X = inputs(120)


def test_names_are_the_nearest_terms_and_both_thresholds_decide():
    words = [f"word{number}" for number in range(25)]
    vectors = inputs(25, seed=9)
    found = name_concepts(SAE, words, vectors, min_similarity=0.6, min_ratio=1.3)
    centred = vectors - vectors.mean(0)
    for concept in found:
        row = SAE.W_dec[concept.latent].numpy()
        cosines = centred @ row / np.linalg.norm(centred, axis=1) / np.linalg.norm(row)
        first, second = np.argsort(-cosines)[:2]
        assert (concept.name, concept.runner_up) == (words[first], words[second])
        assert concept.similarity == pytest.approx(cosines[first], abs=1e-5)
        assert concept.accepted == (cosines[first] >= 0.6 and cosines[first] / cosines[second] >= 1.3)
    counts = [sum(one.accepted for one in name_concepts(SAE, words, vectors, min_similarity=s, min_ratio=r))
              for s, r in ((0, 1), (0.6, 1), (0.6, 1.3), (0.99, 5))]  # fmt: skip
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == LATENTS > counts[2] > counts[3]


def test_without_centring_directions_are_inputs_of_one_latent():
    """As MSAE's code has it: the row over the scale, plus the mean."""
    with_mean = directions(SAE, mean=True)
    codes = torch.zeros(1, LATENTS)
    codes[0, 7] = 1
    alone = SAE.decode(codes)[0] - SAE.b_dec / SAE.scale
    torch.testing.assert_close(with_mean[7], alone.detach())
    words, vectors = ["left", "right"], np.stack([with_mean[7].numpy(), -with_mean[7].numpy()])
    assert name_concepts(SAE, words, vectors, centre=False)[7].accepted
    assert name_concepts(SAE, words, vectors, centre=False)[7].similarity == pytest.approx(1, abs=1e-5)


def test_terms_of_another_model_are_refused(tmp_path):
    with pytest.raises(DataError, match="width 3"):
        name_concepts(SAE, ["a", "b"], np.ones((2, 3)))
    with pytest.raises(DataError, match="at least two"):
        name_concepts(SAE, ["a"], np.ones((1, WIDTH)))
    (tmp_path / "none.txt").write_text("\n \n")
    with pytest.raises(DataError, match="holds no words"):
        read_words(tmp_path / "none.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_words(tmp_path / "missing.txt")
    with pytest.raises(AnysizeError, match="--model"):
        embed_words(SAE, ["a"], None)


@pytest.mark.parametrize("concepts", [None, [3, 11, 20, 21, 30]])
def test_search_ranks_by_the_likeness_of_codes_and_says_why(concepts):
    codes = SAE.encode_dense(X).numpy()
    if concepts is not None:
        codes = codes * np.isin(np.arange(LATENTS), concepts)
    row = next(r for r in range(120) if np.count_nonzero(codes[r]) > 1)
    found = concept_search(SAE, X[row], X, concepts=concepts, k=8)
    lengths = np.linalg.norm(codes, axis=1) * np.linalg.norm(codes[row])
    wanted = np.where(lengths > 0, codes @ codes[row] / np.maximum(lengths, 1e-12), 0)
    assert found[0].similarity == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose([hit.similarity for hit in found], np.sort(wanted)[::-1][: len(found)], rtol=1e-4)
    for hit in found:
        parts = codes[hit.row] * codes[row]
        assert hit.shared[0].latent == np.argmax(parts)
        assert hit.shared[0].share == pytest.approx(parts.max() / parts.sum(), rel=1e-4)


def test_an_edit_moves_its_concepts_and_nothing_else():
    codes = SAE.encode_dense(X)
    changed = edit(SAE, X, {5: 2.0, 9: 0.0})
    wanted = codes.clone()
    wanted[:, 5], wanted[:, 9] = 2.0, 0.0
    error = torch.from_numpy(X) - SAE.decode(codes)
    np.testing.assert_allclose(changed, SAE.decode(wanted) + error, atol=1e-4)
    np.testing.assert_allclose(edit(SAE, X, {5: 2.0, 9: 0.0}, keep_error=False), SAE.decode(wanted), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(edit(SAE, X, {5: 2.0}, unit=True), axis=1), 1, atol=1e-5)
    same = {latent: float(codes[0, latent]) for latent in range(LATENTS)}
    np.testing.assert_allclose(edit(SAE, X[:1], same), X[:1], atol=1e-4)
    with pytest.raises(AnysizeError, match="no latent 40"):
        edit(SAE, X, {40: 1.0})


def test_neighbours_change_with_what_was_edited():
    change = neighbours_after(SAE, X[0], X, {5: 40.0}, k=10)
    assert change.before[0] == 0
    assert set(change.came) == set(change.after) - set(change.before)
    pulled = X @ SAE.W_dec[5].numpy() / np.linalg.norm(X, axis=1)
    assert pulled[list(change.after)].mean() > pulled[list(change.before)].mean()


def test_bias_finds_the_concept_that_decides_a_class():
    """A probe that looks along one dictionary row: that latent's effect is the largest, and grows with its value."""
    labels = np.where(X @ SAE.W_dec[5].numpy() > 0, "one", "other")
    probe = fit_probe(X, labels, learning_rate=0.1, epochs=60)
    effects = bias(SAE, X, probe, "one", [5, 6, 7, 8])
    assert effects[0].latent == 5
    assert list(effects[0].curve.values()) == sorted(effects[0].curve.values())
    assert effects[0].curve[4.0] > 0.05 > effects[0].curve[0.0]
    codes, before = SAE.encode_dense(X)[:, 5], probe.logits(X)[:, list(probe.classes).index("one")].exp()
    assert effects[0].correlation == pytest.approx(float(np.corrcoef(codes, before)[0, 1]), abs=1e-4)
    moved = probe.logits(edit(SAE, X, {5: 2 * float(codes[codes > 0].mean())}))
    after = moved[:, list(probe.classes).index("one")].exp()
    assert effects[0].curve[2.0] == pytest.approx(float((after - before).mean()), abs=1e-4)
    with pytest.raises(AnysizeError, match="knows one, other"):
        bias(SAE, X, probe, "third", [5])


def test_concepts_as_typed(anysize, encoder_path, tmp_path):
    from tests.conftest import WORDS

    width = 32
    from anysize.backbones.sentence import Encoder
    from anysize.sparse import SparseAutoencoder

    sae = SparseAutoencoder(Nesting(latents=(4, 16)), width, activation="topk", active=4)
    rows = Encoder(str(encoder_path)).encode(WORDS[:16])
    with torch.no_grad():
        sae.W_dec.copy_(torch.from_numpy(rows - rows.mean(0)))
    sae.save(tmp_path / "sae")
    (tmp_path / "words.txt").write_text("\n".join(WORDS[:16]))
    command = ("concepts", tmp_path / "sae", "--vocabulary", tmp_path / "words.txt", "--model", encoder_path)
    said = anysize(*command, "--min-ratio", "1", "--out", tmp_path / "names.json")
    assert said.status == 0, said.err
    assert "16 of 16 latents have a name among 16 words" in said.out
    written = json.loads((tmp_path / "names.json").read_text())
    assert [one["name"] for one in written["concepts"]] == WORDS[:16]
    assert anysize(*command, "--min-ratio", "1", "--json").json["accepted"] == 16
    anysize("concepts", tmp_path / "sae", "--vocabulary", tmp_path / "words.txt").refused("--model")
    anysize("concepts", encoder_path, "--vocabulary", tmp_path / "words.txt").refused("not an anysize model")
