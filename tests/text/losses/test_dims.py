import copy
import random

import pytest
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer import losses as peers
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.losses.prefix import nested_info_nce
from anysize.text.losses.dims import MatryoshkaLoss
from anysize.text.losses.standin import StandIn, with_model

WIDTH, DIMS, WEIGHTS = 32, [8, 32, 16], [0.5, 1.0, 2.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random BERT of two layers and 32 dimensions, with a vocabulary of numbers."""
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", *map(str, range(60))]
    plain = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def model(folder):
    transformer = Transformer(str(folder))
    return SentenceTransformer(modules=[transformer, Pooling(WIDTH)], device="cpu").train()


def columns(count, rows=6, seed=0):
    draw = torch.Generator().manual_seed(seed)
    made = []
    for index in range(count):
        ids = torch.randint(2, 62, (rows, 5 + index), generator=draw)
        made.append({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    return made


def run(loss, model, features, labels=None):
    model.zero_grad()
    random.seed(7)
    value = loss([dict(column) for column in features], labels)
    value.backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    return value.detach(), gradients


def agree(ours, theirs):
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    largest = max(gradient.abs().max() for gradient in theirs[1].values())
    assert largest > 1e-4
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, atol=1e-5 * max(1, largest), rtol=1e-4)


def dot(a, b):
    return a @ b.T


SCORES, CLASSES = torch.tensor([0.1, 0.9, 0.4, 0.3, 0.8, 0.2]), torch.tensor([0, 0, 1, 1, 2, 2])
TEACHER = torch.randn(6, 2, WIDTH, generator=torch.Generator().manual_seed(5))
CASES = {
    "in batch": (lambda m: peers.MultipleNegativesRankingLoss(m), 2, None),
    "in batch, negatives": (lambda m: peers.MultipleNegativesRankingLoss(m, scale=50.0), 4, None),
    "in batch, dot": (lambda m: peers.MultipleNegativesRankingLoss(m, similarity_fct=dot), 2, None),
    "in batch, two ways": (
        lambda m: peers.MultipleNegativesRankingLoss(
            m, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
        ), 2, None,
    ),
    "in batch, all ways": (
        lambda m: peers.MultipleNegativesRankingLoss(
            m, directions=("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")
        ), 3, None,
    ),
    "in batch, hardness": (
        lambda m: peers.MultipleNegativesRankingLoss(m, hardness_mode="all_negatives", hardness_strength=5.0), 3, None,
    ),
    "cosent": (peers.CoSENTLoss, 2, SCORES),
    "angle": (peers.AnglELoss, 2, SCORES),
    "cosine": (peers.CosineSimilarityLoss, 2, SCORES),
    "triplet": (peers.TripletLoss, 3, None),
    "classes": (peers.BatchAllTripletLoss, 1, CLASSES),
    "contrastive": (peers.OnlineContrastiveLoss, 2, torch.tensor([0, 1, 0, 1, 1, 0])),
    "distilled": (lambda m: peers.EmbedDistillLoss(m, distance_metric="mse"), 2, TEACHER),
    "megabatch, at once": (lambda m: peers.MegaBatchMarginLoss(m, use_mini_batched_version=False), 2, None),
    "cached": (lambda m: peers.CachedMultipleNegativesRankingLoss(m, mini_batch_size=4), 3, None),
    "cached, dot": (
        lambda m: peers.CachedMultipleNegativesRankingLoss(m, mini_batch_size=4, similarity_fct=dot), 2, None,
    ),
    "cached, megabatch": (lambda m: peers.MegaBatchMarginLoss(m, mini_batch_size=4), 2, None),
}  # fmt: skip


@pytest.mark.parametrize("n_dims_per_step", [-1, 2])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_those_of_sentence_transformers(model, case, n_dims_per_step):
    make, count, labels = CASES[case]
    features = columns(count)
    options = (DIMS, WEIGHTS, n_dims_per_step)
    ours = run(MatryoshkaLoss(model, make(model), *options), model, features, labels)
    agree(ours, run(peers.MatryoshkaLoss(model, make(model), *options), model, features, labels))


def test_a_guided_loss(model, folder):
    guide = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(WIDTH, pooling_mode="cls")], device="cpu")
    features = columns(3)

    def both(make):
        ours = run(MatryoshkaLoss(model, make(), DIMS, WEIGHTS), model, features)
        agree(ours, run(peers.MatryoshkaLoss(model, make(), DIMS, WEIGHTS), model, features))

    both(lambda: peers.GISTEmbedLoss(model, guide))
    both(lambda: peers.CachedGISTEmbedLoss(model, guide, mini_batch_size=4))


def test_inside_their_loss_over_layers(model):
    def layered(kind):
        inner = kind(model, peers.CoSENTLoss(model), DIMS, WEIGHTS)
        return peers.AdaptiveLayerLoss(model, inner, n_layers_per_step=-1)

    features = columns(2)
    agree(
        run(layered(MatryoshkaLoss), model, features, SCORES),
        run(layered(peers.MatryoshkaLoss), model, features, SCORES),
    )


def test_weights_of_the_loss_itself_are_trained(model):
    torch.manual_seed(0)
    inner = peers.SoftmaxLoss(model, WIDTH, num_labels=3)

    class AnyWidth(torch.nn.Module):
        """A head that, as in MRL-E, uses its first columns only."""

        def __init__(self, head):
            super().__init__()
            self.weight = head.weight

        def forward(self, rows):
            return rows @ self.weight[:, : rows.shape[1]].T

    inner.classifier = AnyWidth(inner.classifier)
    MatryoshkaLoss(model, inner, DIMS)(columns(2), torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    assert inner.classifier.weight.grad.abs().sum() > 0
    assert inner.model is model


@pytest.mark.parametrize("case", ["in batch, negatives", "triplet", "cached"])
def test_the_model_runs_once_and_stays_as_it_was(model, case):
    make, count, labels = CASES[case]
    inner = make(model)
    before = {module: set(vars(module)) for module in (model, inner)}
    calls = []
    model[1].register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    loss = MatryoshkaLoss(model, inner, DIMS)
    once = make(model)
    run(once, model, columns(count), labels)
    expected, calls[:] = len(calls), []
    run(loss, model, columns(count), labels)
    assert len(calls) == expected
    assert {module: set(vars(module)) for module in (model, inner)} == before
    assert inner.model is model


@pytest.mark.parametrize("case", ["in batch", "cosent", "cached", "cached, megabatch"])
def test_each_size_has_its_own_term(model, case):
    make, count, labels = CASES[case]
    features = columns(count)
    loss = MatryoshkaLoss(model, make(model), DIMS, WEIGHTS)
    total, _ = run(loss, model, features, labels)
    assert list(loss.last_terms) == sorted(DIMS)
    assert not any(term.requires_grad for term in loss.last_terms.values())
    weighted = sum(weight * loss.last_terms[dim] for dim, weight in zip(DIMS, WEIGHTS, strict=True))
    torch.testing.assert_close(weighted, total)
    alone, _ = run(peers.MatryoshkaLoss(model, make(model), [16]), model, features, labels)
    torch.testing.assert_close(loss.last_terms[16], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", ["in batch", "triplet", "cached", "cached, megabatch"])
def test_evaluation_needs_no_gradients(model, case):
    make, count, labels = CASES[case]
    loss, features = MatryoshkaLoss(model, make(model), DIMS, WEIGHTS), columns(count)
    trained, _ = run(loss, model, features, labels)
    with torch.no_grad():
        value = loss([dict(column) for column in features], labels)
    assert not value.requires_grad
    torch.testing.assert_close(value, trained, atol=1e-5, rtol=1e-5)


def test_sizes_are_drawn_anew_at_each_step(model):
    loss = MatryoshkaLoss(model, peers.MultipleNegativesRankingLoss(model), DIMS, n_dims_per_step=1)
    random.seed(0)
    drawn = set()
    for _ in range(12):
        with torch.no_grad():
            loss(columns(2), None)
        assert len(loss.last_terms) == 1
        drawn |= loss.last_terms.keys()
    assert drawn == set(DIMS)


def test_what_a_model_card_shows(model):
    loss = MatryoshkaLoss(model, peers.CoSENTLoss(model), DIMS, WEIGHTS)
    theirs = peers.MatryoshkaLoss(model, peers.CoSENTLoss(model), DIMS, WEIGHTS)
    assert loss.get_config_dict() == theirs.get_config_dict()
    assert "Matryoshka Representation Learning" in loss.citation
    plain = MatryoshkaLoss(model, peers.CoSENTLoss(model), DIMS).get_config_dict()
    assert plain["matryoshka_dims"] == (32, 16, 8)
    assert plain["matryoshka_weights"] == (1, 1, 1)


@pytest.mark.parametrize(
    ("dims", "options", "message"),
    [
        ([], {}, "^You must provide at least one dimension in matryoshka_dims.$"),
        ([0, 32], {}, "^All dimensions passed to a matryoshka loss must be > 0; got 0"),
        ([64, 32], {}, "^Dimensions in matryoshka_dims cannot exceed the model's embedding dimension of 32; got 64"),
        ([16, 16, 32], {}, "lists 16 twice"),
        (
            [16, 32],
            {"matryoshka_weights": [1.0]},
            "^matryoshka_weights must be the same length .*1 weights .* 2 dims",
        ),
        ([16, 32], {"matryoshka_weights": []}, "0 weights stand beside 2 dims"),
        ([16, 32], {"n_dims_per_step": 0}, "n_dims_per_step is 0"),
    ],
)
def test_refusals(model, dims, options, message):
    with pytest.raises(SizeError, match=message):
        MatryoshkaLoss(model, peers.CoSENTLoss(model), dims, **options)


def test_a_missing_full_width_is_said_as_sentence_transformers_says_it(model, caplog):
    MatryoshkaLoss(model, peers.CoSENTLoss(model), [8, 32])
    assert not caplog.records
    for cls in (MatryoshkaLoss, peers.MatryoshkaLoss):
        cls(model, peers.CoSENTLoss(model), [8, 16])
    ours, theirs = (record.getMessage() for record in caplog.records)
    assert ours == theirs
    assert "embedding dimension 32 is not included" in ours


@pytest.mark.parametrize("kind", [peers.CoSENTLoss, peers.MultipleNegativesRankingLoss])
def test_a_loss_around_another_model_is_refused(model, kind):
    with pytest.raises(AnysizeError, match="never called the model"):
        MatryoshkaLoss(model, kind(copy.deepcopy(model)), DIMS)(columns(2), SCORES)


def test_a_loss_that_calls_the_model_unevenly_is_refused(model):
    class Uneven(peers.CoSENTLoss):
        calls = (1, 2)

        def forward(self, features, labels):
            first = [self.model(column)["sentence_embedding"] for column in features]
            wanted = self.calls[first[0].shape[-1] > 8]
            return sum(self.model(features[0])["sentence_embedding"].sum() for _ in range(wanted))

    with pytest.raises(AnysizeError, match="more often at 16"):
        MatryoshkaLoss(model, Uneven(model), DIMS)(columns(2), SCORES)
    Uneven.calls = (2, 1)
    with pytest.raises(AnysizeError, match="3 times at 16 dimensions and 4 times"):
        MatryoshkaLoss(model, Uneven(model), DIMS)(columns(2), SCORES)


def test_the_stand_in_answers_for_the_model(model):
    standin = StandIn(model)
    assert standin.get_embedding_dimension() == WIDTH
    assert standin.tokenizer is model.tokenizer
    assert standin[0] is model[0]
    assert not list(standin.parameters())
    with pytest.raises(AttributeError, match="nothing_such"):
        standin.nothing_such  # noqa: B018


def test_a_copy_holds_the_stand_in_at_any_depth(model):
    inner = peers.CachedMultipleNegativesRankingLoss(model)
    standin = StandIn(model)
    twin = with_model(inner, model, standin)
    assert twin.model is standin
    assert twin.loss.model is standin
    assert inner.model is model
    assert inner.loss.model is model


@pytest.mark.parametrize("cached", [False, True])
def test_in_their_trainer(model, tmp_path, cached):
    from datasets import Dataset

    draw = random.Random(0)
    texts = [" ".join(str(draw.randrange(60)) for _ in range(6)) for _ in range(64)]
    data = Dataset.from_dict({"anchor": texts, "positive": [" ".join(reversed(text.split())) for text in texts]})
    kind = peers.CachedMultipleNegativesRankingLoss if cached else peers.MultipleNegativesRankingLoss
    loss = MatryoshkaLoss(model, kind(model), DIMS)
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path), max_steps=12, per_device_train_batch_size=16, learning_rate=2e-3, logging_steps=1,
        report_to="none", save_strategy="no", eval_strategy="steps", eval_steps=12, use_cpu=True, disable_tqdm=True,
        dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=data, eval_dataset=data.select(range(16)), loss=loss
    )
    trainer.train()
    history = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(history) == 12
    assert history[-1] < 0.7 * history[0]
    assert list(loss.last_terms) == sorted(DIMS)


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith(("in batch", "cached"))])
def test_only_plain_softmax_over_cosines_shares_its_work(model, case, monkeypatch):
    used = []

    def counted(*arguments, **options):
        used.append(arguments)
        return nested_info_nce(*arguments, **options)

    monkeypatch.setattr("anysize.text.losses.dims.nested_info_nce", counted)
    make, count, labels = CASES[case]
    run(MatryoshkaLoss(model, make(model), DIMS), model, columns(count), labels)
    assert bool(used) == (case in ("in batch", "in batch, negatives", "cached"))
