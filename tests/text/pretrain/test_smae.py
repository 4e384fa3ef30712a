"""SMAE: its masks, and its loss against a plain implementation that computes every logit."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertTokenizerFast,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    RobertaConfig,
)

from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.text.pretrain.masks import IGNORED, NO_WORD, NestedWholeWordMask, nested_masks, word_groups
from anysize.text.pretrain.mlm_head import NestedHead
from anysize.text.pretrain.objective import SMAEObjective, losses_by_size
from anysize.text.pretrain.windows import TokenWindows
from tests.conftest import WORDS, sentences

WIDTH, VOCABULARY = 16, 40
SIZES = Nesting.pairs([Size(layers=1, dims=4), Size(layers=2, dims=8), Size(layers=3, dims=16)])
SHARED = {"vocab_size": VOCABULARY, "pad_token_id": 1, "initializer_range": 0.3}
SHAPE = {"hidden_size": WIDTH, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "max_position_embeddings": 32}
CONFIGS = {
    "bert": BertConfig(**SHARED, **SHAPE, **STILL),
    "roberta": RobertaConfig(**SHARED, **SHAPE, **STILL),
    "mpnet": MPNetConfig(**SHARED, **SHAPE, **STILL),
    "distilbert": DistilBertConfig(
        **SHARED, dim=WIDTH, n_layers=3, n_heads=2, hidden_dim=32, max_position_embeddings=32, dropout=0.0,
        attention_dropout=0.0,
    ),
}  # fmt: skip


def made(kind: str) -> tuple:
    """An encoder and its masked-language model, of which only the head counts."""
    torch.manual_seed(0)
    encoder, masked = AutoModel.from_config(CONFIGS[kind]), AutoModelForMaskedLM.from_config(CONFIGS[kind])
    with torch.no_grad():
        for name, part in masked.named_parameters():
            if name.endswith("bias"):
                part.normal_()  # zero in a new model, where forgetting it would not show
    return encoder, masked


def batch(rows: int = 5, tokens: int = 9) -> dict[str, torch.Tensor]:
    """Texts of unequal length, masked at nested positions."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(5, VOCABULARY, (rows, tokens), generator=draw)
    seen = torch.ones_like(ids)
    seen[0, 6:], ids[0, 6:] = 0, 1
    order = torch.rand(rows, tokens, generator=draw).masked_fill(seen == 0, 2)
    order[:, 0] = 2
    encoder, decoder = order < 0.25, order < 0.5
    hidden = torch.full_like(ids, 3)
    return {
        "input_ids": torch.where(encoder, hidden, ids),
        "attention_mask": seen,
        "labels": torch.where(encoder, ids, IGNORED),
        "decoder_input_ids": torch.where(decoder, hidden, ids),
        "decoder_labels": torch.where(decoder, ids, IGNORED),
    }


def plain_loss(encoder, masked, block, kind, rows) -> torch.Tensor:
    """The paper's loss of a BERT or DistilBERT, written out: every logit, every layer run by hand."""
    if kind == "bert":
        transform = masked.cls.predictions.transform
        dense, norm, bias = transform.dense, transform.LayerNorm, masked.cls.predictions.decoder.bias
    else:
        dense, norm, bias = masked.vocab_transform, masked.vocab_layer_norm, masked.vocab_projector.bias
    table = encoder.embeddings.word_embeddings.weight

    def lift(state):
        padded = functional.pad(state, (0, WIDTH - state.shape[-1]))  # zeros stand for the columns that are left out
        return norm(functional.gelu(padded @ dense.weight.T + dense.bias))

    def guessed(state, labels):
        logits = lift(state) @ table.T + bias
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)

    states = encoder(
        rows["input_ids"], attention_mask=rows["attention_mask"], output_hidden_states=True
    ).hidden_states  # fmt: skip
    unseen = (1 - rows["attention_mask"][:, None, None, :]) * torch.finfo(torch.float32).min
    total = torch.zeros(())
    for size in SIZES:
        state = states[size.layers][:, :, : size.dims]
        embedded = encoder.embeddings(rows["decoder_input_ids"])
        first = torch.zeros_like(embedded)
        first[:, 0] = 1
        embedded = embedded * (1 - first) + lift(state)[:, :1] * first
        decoded = block(embedded, attention_mask=unseen)
        total = total + (guessed(state, rows["labels"]) + guessed(decoded, rows["decoder_labels"])) / 2
    return total / len(SIZES)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_the_loss_and_its_gradients_are_those_of_the_plain_one(kind):
    encoder, masked = made(kind)
    module = SMAEObjective(encoder, NestedHead(masked), SIZES)
    other, other_masked = copy.deepcopy(encoder), copy.deepcopy(masked)
    other_module = SMAEObjective(other, NestedHead(other_masked), SIZES)
    with torch.no_grad():  # a decoder that has moved away from the block it was copied from
        for one, two in zip(module.decoder.parameters(), other_module.decoder.parameters(), strict=True):
            two.copy_(one.add_(torch.randn(one.shape) * 0.1))
    rows = batch()
    loss = module(**rows)["loss"]
    plain = plain_loss(other, other_masked, other_module.decoder, kind, rows)
    assert loss.item() == pytest.approx(plain.item(), rel=1e-5)
    loss.backward()
    plain.backward()
    mine, theirs = dict(module.named_parameters()), dict(other_module.named_parameters())
    compared = 0
    for name, part in mine.items():
        expected = theirs[name].grad
        if name == "head.bias":
            expected = (
                other_masked.cls.predictions.decoder if kind == "bert" else other_masked.vocab_projector
            ).bias.grad
        assert (part.grad is None) == (expected is None), name
        if part.grad is not None:
            compared += 1
            torch.testing.assert_close(part.grad, expected, rtol=1e-3, atol=1e-6, msg=name)
    assert compared > 40


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_every_supported_kind_learns_all_it_should(kind):
    encoder, masked = made(kind)
    module = SMAEObjective(encoder, NestedHead(masked), SIZES)
    module(**batch())["loss"].backward()
    without = {name for name, part in module.named_parameters() if part.grad is None or not part.grad.abs().sum()}
    assert all("pooler" in name for name in without), without
    assert not any(name.startswith("decoder") for name in without)
    assert torch.equal(module.decoder.state_dict()[next(iter(module.decoder.state_dict()))],
                       next(iter(module.stack.blocks(encoder)[0].state_dict().values())))  # fmt: skip


def test_a_small_size_uses_the_first_columns_of_the_head_only():
    encoder, masked = made("bert")
    head = NestedHead(masked)
    state = torch.randn(3, 4)
    before = head.lift(state)
    with torch.no_grad():
        head.dense.weight[:, 4:] = 1e3
    assert torch.equal(head.lift(state), before)
    with torch.no_grad():
        head.dense.weight[:, 3] += 1
    assert not torch.allclose(head.lift(state), before)
    module = SMAEObjective(encoder, head, Nesting.pairs([Size(layers=1, dims=4)]))
    module(**batch())["loss"].backward()
    # The block's own guesses are of full width: take its term away to see the small size alone.
    head.dense.weight.grad = None
    module.terms(**batch())[0]["mlm"].backward()
    assert head.dense.weight.grad[:, 4:].abs().sum() == 0
    assert head.dense.weight.grad[:, :4].abs().sum() > 0


def test_one_full_size_without_decoder_is_what_transformers_calls_masked_language_modelling():
    encoder, masked = made("bert")
    masked.bert.load_state_dict({k: v for k, v in encoder.state_dict().items() if not k.startswith("pooler")})
    module = SMAEObjective(encoder, NestedHead(masked), Nesting.pairs([Size(layers=3, dims=WIDTH)]), decoder=False)
    rows = {name: value for name, value in batch().items() if not name.startswith("decoder")}
    assert module(**rows)["loss"].item() == pytest.approx(masked(**rows).loss.item(), rel=1e-5)


def test_the_decoder_hears_of_the_text_through_the_first_state_alone():
    encoder, masked = made("bert")
    module = SMAEObjective(encoder, NestedHead(masked), SIZES).eval()
    rows = batch()
    rows["decoder_input_ids"] = torch.full_like(rows["decoder_input_ids"], 3)
    plain, shuffled = module.terms(**rows), module.terms(**rows, shuffled=True)
    assert all(one["mlm"] == other["mlm"] and one["mae"] != other["mae"]
               for one, other in zip(plain, shuffled, strict=True))  # fmt: skip
    told = losses_by_size(module, [rows])
    assert told["layers=1,dims=4"]["mae"] == pytest.approx(plain[0]["mae"].item())
    assert told["layers=1,dims=4"]["mae_shuffled"] == pytest.approx(shuffled[0]["mae"].item())


def test_only_masked_positions_meet_the_vocabulary(monkeypatch):
    encoder, masked = made("bert")
    module, rows = SMAEObjective(encoder, NestedHead(masked), SIZES), batch()
    scored, plain = [], functional.linear

    def linear(states, weight, bias=None):
        if len(weight) == VOCABULARY:
            scored.append(tuple(states.shape[:-1]))
        return plain(states, weight, bias)

    monkeypatch.setattr(functional, "linear", linear)
    module(**rows)
    counts = [int((rows[name] != IGNORED).sum()) for name in ("labels", "decoder_labels")]
    assert scored == [(count,) for _ in SIZES for count in counts]
    assert 0 < counts[0] < counts[1] < rows["attention_mask"].sum()


def test_a_model_with_another_head_is_refused_in_one_sentence():
    config = ElectraConfig(vocab_size=VOCABULARY, embedding_size=WIDTH, **SHAPE)
    with pytest.raises(AnysizeError, match=r"'electra'; supported: BERT"):
        NestedHead(AutoModelForMaskedLM.from_config(config))


# Masks


def words_of(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[NO_WORD], np.repeat(np.arange(len(lengths)), lengths), [NO_WORD]])


@pytest.mark.parametrize("seed", range(20))
def test_masks_are_whole_words_one_set_in_the_other_within_their_quotas(seed):
    rng = np.random.default_rng(seed)
    words = words_of(list(rng.integers(1, 4, 30)))
    encoder, decoder = nested_masks(words, 0.2, 0.4, rng)
    total = int((words != NO_WORD).sum())
    assert not (encoder & ~decoder).any()
    assert not decoder[words == NO_WORD].any()
    for mask, share in ((encoder, 0.2), (decoder, 0.4)):
        assert share * total - 3 < mask.sum() <= round(share * total)
        for word in range(30):
            assert len(set(mask[words == word])) == 1


def test_neighbouring_words_of_equal_number_count_once_and_a_lone_word_is_masked_all_the_same():
    assert [list(group) for group in word_groups(np.array([NO_WORD, 0, 0, 1, NO_WORD, 1, NO_WORD]))] == [
        [1, 2],
        [3],
        [5],
    ]
    encoder, decoder = nested_masks(words_of([5]), 0.2, 0.4, np.random.default_rng(0))
    assert encoder.tolist() == decoder.tolist() == [False, *[True] * 5, False]


def masker(**more) -> NestedWholeWordMask:
    return NestedWholeWordMask(
        **{
            "encoder_share": 0.2,
            "decoder_share": 0.4,
            "mask_id": 4,
            "pad_id": 0,
            "plain_ids": np.arange(5, 1000),
            **more,
        }
    )


def test_a_batch_is_the_same_for_the_same_rows_and_another_for_others():
    words = [words_of([1] * count) for count in (30, 50, 40)]
    ids = [np.concatenate([[2], np.arange(5, 3 + len(one)), [3]]) for one in words]
    first, again = masker()([7, 3, 9], ids, words), masker()([7, 3, 9], ids, words)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in (masker()([7, 3, 8], ids, words), masker(seed=1)([7, 3, 9], ids, words)):
        assert not torch.equal(first["labels"], other["labels"])
    assert first["input_ids"].shape == (3, 52)
    assert first["attention_mask"].sum(1).tolist() == [32, 52, 42]
    for copied, labels in (("input_ids", "labels"), ("decoder_input_ids", "decoder_labels")):
        masked = first[labels] != IGNORED
        plain = torch.where(masked, first[labels], first[copied])
        assert plain[0].tolist() == [*ids[0], *[0] * 20]
    assert "decoder_labels" not in masker(decoder_share=None)([0, 1, 2], ids, words)


def test_of_the_masked_tokens_four_fifths_are_hidden_a_tenth_swapped_a_tenth_left():
    words = [words_of([1] * 2000)]
    ids = [np.full(2002, 7)]
    made = masker(encoder_share=0.5, decoder_share=None)([0], ids, words)
    shown = made["input_ids"][made["labels"] != IGNORED]
    assert (shown == 4).float().mean().item() == pytest.approx(0.8, abs=0.05)
    assert (shown == 7).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert shown.min() >= 4


@pytest.mark.parametrize("shares", [(0.0, 0.4), (0.5, 0.4), (0.2, 1.0)])
def test_shares_that_cannot_nest_are_refused(shares):
    with pytest.raises(AnysizeError, match="0 < encoder <= decoder < 1"):
        masker(encoder_share=shares[0], decoder_share=shares[1])


# Windows


@pytest.fixture
def tokenizer(tmp_path: Path) -> BertTokenizerFast:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##mer", "##lan"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return BertTokenizerFast(str(tmp_path / "vocab.txt"))


def test_long_texts_fill_several_windows_and_no_token_is_lost(tokenizer):
    text = " ".join(sentences(5))
    windows = TokenWindows([text, "ba", *sentences(1, 4)], tokenizer, 12)
    ids, _ = windows.take(range(len(windows)))
    assert [len(one) for one in ids] == [12, 12, 12, 8]
    assert all(one[0] == tokenizer.cls_token_id and one[-1] == tokenizer.sep_token_id for one in ids)
    assert (
        np.concatenate([one[1:-1] for one in ids[:3]]).tolist() == tokenizer(text, add_special_tokens=False).input_ids
    )
    assert windows.tokens == 44
    assert [windows[place] for place in range(4)] == [0, 1, 2, 3]


def test_pieces_share_their_word_and_unknown_tokens_have_none(tokenizer):
    windows = TokenWindows(["balanmer demer ??? figar [MASK] golum"], tokenizer, 32)
    (ids,), (words,) = windows.take([0])
    assert tokenizer.convert_ids_to_tokens(ids[:4].tolist()) == ["[CLS]", "balan", "##mer", "demer"]
    assert words[1] == words[2] != words[3]
    special = np.isin(ids, tokenizer.all_special_ids)
    assert (words[special] == NO_WORD).all()
    assert (words[~special] != NO_WORD).all()
    assert special.sum() >= 4


def test_texts_without_tokens_and_windows_without_room_are_refused(tokenizer):
    with pytest.raises(DataError, match="none of the 2 texts"):
        TokenWindows(["", "ba lan"], tokenizer, 12)
    with pytest.raises(AnysizeError, match="at least 8"):
        TokenWindows(sentences(2), tokenizer, 5)
