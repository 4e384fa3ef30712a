import random

import pytest
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer import losses as peers
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch.nn import functional
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel

from anysize.backbones.blocks import checkpoint_activations, truncated
from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.text import AdaptiveLayerLoss, Matryoshka2dLoss, StarbucksLoss
from tests.processes import together
from tests.text.losses.test_dims import WIDTH, agree, columns, run

pytest_plugins: list[str] = []
DEPTH, DIMS = 3, [8, 16, 32]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random BERT of three layers, in the vocabulary of numbers that `test_losses` uses."""
    from tests.text.losses.test_dims import folder as two_layers

    base = two_layers.__wrapped__(tmp_path_factory)
    torch.manual_seed(1)
    config = BertConfig.from_pretrained(base)
    config.num_hidden_layers = DEPTH
    BertModel(config).save_pretrained(base)
    return base


@pytest.fixture
def model(folder):
    return SentenceTransformer(modules=[Transformer(str(folder)), Pooling(WIDTH)], device="cpu").train()


def ranking(model):
    return peers.MultipleNegativesRankingLoss(model)


def vectors_at(model, column, layer):
    """Independently: the model cut at a layer, run on its own, mean-pooled by hand."""
    states = truncated(model[0].auto_model, layer)(**column).last_hidden_state
    mask = column["attention_mask"][..., None].float()
    return (states * mask).sum(1) / mask.sum(1)


def softmax_loss(queries, documents, dim):
    q, d = (functional.normalize(rows[:, :dim], dim=-1) for rows in (queries, documents))
    return functional.cross_entropy(20 * q @ d.T, torch.arange(len(q)))


def kl(student, teacher):
    student, teacher = functional.log_softmax(student, -1), functional.softmax(teacher, -1)
    return (teacher * (teacher.log() - student)).sum(-1).mean()


class Plain:
    """A loss written out over cut models, in the shape that `run` expects."""

    def __init__(self, compute):
        self.compute = compute

    def __call__(self, features, labels=None):
        return self.compute(features)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize(
    ("peer", "arguments"),
    [
        (peers.MultipleNegativesRankingLoss, {"n_layers_per_step": -1}),
        (peers.MultipleNegativesRankingLoss, {"n_layers_per_step": 1, "layer_weighting": "linear"}),
        (peers.CoSENTLoss, {"n_layers_per_step": 2, "layer_weighting": "log", "kl_temperature": 0.7}),
        (peers.CosineSimilarityLoss, {"kl_temperature": 0, "prior_layers_weight": 0.5, "last_layer_weight": 2.0}),
    ],
)
def test_adaptive_layers_as_sentence_transformers_has_them(model, normalized, peer, arguments):
    if normalized:
        model.append(Normalize())
    features, labels = columns(2), torch.rand(6)
    ours = AdaptiveLayerLoss.as_sentence_transformers(model, peer(model), **arguments)
    theirs = peers.AdaptiveLayerLoss(model, peer(model), **arguments)
    agree(run(ours, model, features, labels), run(theirs, model, features, labels))


@pytest.mark.parametrize("layers", [1, -1])
@pytest.mark.parametrize("dims", [1, 2, -1])
def test_2d_as_sentence_transformers_has_it(model, layers, dims):
    arguments = {"n_layers_per_step": layers, "n_dims_per_step": dims}
    ours = Matryoshka2dLoss.as_sentence_transformers(
        model, ranking(model), matryoshka_dims=DIMS, matryoshka_weights=[0.5, 2, 1], **arguments
    )
    theirs = peers.Matryoshka2dLoss(model, ranking(model), DIMS, [0.5, 2, 1], **arguments)
    agree(run(ours, model, columns(3)), run(theirs, model, columns(3)))


def test_2dmse_is_the_papers_sum(model):
    features, loss = columns(3), Matryoshka2dLoss(model, ranking(model), DIMS)
    ours = run(loss, model, features)
    random.seed(7)
    dim = sorted(DIMS[:2], reverse=True)[random.sample(range(2), 1)[0]]
    layer = random.sample(range(1, DEPTH), 1)[0]
    assert set(loss.last_terms) == {(at, width) for at in (DEPTH, layer) for width in (WIDTH, dim)}

    def plain(features):
        total = torch.zeros(())
        taps = {at: [vectors_at(model, column, at) for column in features] for at in (layer, DEPTH)}
        for queries, *documents in taps.values():
            for width in (WIDTH, dim):
                total = total + softmax_loss(queries, torch.cat(documents), width)
        return total + kl(torch.cat(taps[layer]), torch.cat(taps[DEPTH]).detach())

    agree(ours, run(Plain(plain), model, features))


@pytest.mark.parametrize("kl_on", ["similarity", "pooled"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_starbucks_is_the_papers_sum(model, kl_on, symmetric):
    menu = [(1, 8), (2, 16), (3, 32)]
    features = columns(3)
    both = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"} if symmetric else {}
    inner = peers.MultipleNegativesRankingLoss(model, **both)
    ours = run(StarbucksLoss(model, inner, menu, kl_on=kl_on, kl_weight=0.5), model, features)

    def plain(features):
        total = torch.zeros(())
        top = [vectors_at(model, column, DEPTH).detach() for column in features]
        for layer, dim in menu:
            taps = [vectors_at(model, column, layer) for column in features]
            queries, documents = taps[0], torch.cat(taps[1:])
            one = softmax_loss(queries, documents, dim)
            if symmetric:
                one = (one + softmax_loss(taps[1], queries, dim)) / 2
            total = total + one
            if layer == DEPTH:
                continue
            if kl_on == "pooled":
                pull = kl(torch.cat(taps)[:, :dim], torch.cat(top)[:, :dim])
            else:
                unit = [functional.normalize(rows[:, :dim], dim=-1) for rows in taps]
                whole = [functional.normalize(rows, dim=-1) for rows in top]
                pull = kl(unit[0] @ torch.cat(unit[1:]).T / 0.05, whole[0] @ torch.cat(whole[1:]).T / 0.05)
            total = total + 0.5 * pull
        return total

    agree(ours, run(Plain(plain), model, features))


def test_sampled_sizes_keep_their_own_layer_and_width(model):
    menu = [(1, 8), (2, 16), (3, 32)]
    loss, seen = StarbucksLoss(model, ranking(model), menu, n_sizes_per_step=1), set()
    for seed in range(12):
        random.seed(seed)
        loss(columns(2))
        assert len(loss.last_terms) == 2
        assert (3, 32) in loss.last_terms
        seen |= set(loss.last_terms)
    assert seen == set(menu)


def test_the_teacher_gets_no_gradient_from_the_pull(model):
    loss = StarbucksLoss(model, ranking(model), Nesting(layers=(1, 3), dims=(WIDTH,), weights=(0, 0)))
    assert float(run(loss, model, columns(2))[0]) == 0
    for detached, touched in ((True, False), (False, True)):
        loss = AdaptiveLayerLoss(model, ranking(model), -1, 0.0, 0.0, detach_teacher=detached)
        _, gradients = run(loss, model, columns(2))
        deepest = [name for name in gradients if ".layer.2." in name and float(gradients[name].abs().max()) > 0]
        assert bool(deepest) == touched


@pytest.mark.parametrize("kl_on", ["similarity", "pooled"])
def test_small_parts_give_the_gradients_of_the_whole_batch(model, kl_on):
    features = columns(3, rows=7)
    whole = run(StarbucksLoss(model, ranking(model), [(1, 8), (3, 32)], kl_on=kl_on), model, features)
    parts = StarbucksLoss(model, ranking(model), [(1, 8), (3, 32)], kl_on=kl_on, mini_batch_size=2)
    agree(run(parts, model, features), whole)


def test_small_parts_repeat_their_dropout(folder):
    model = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(WIDTH)], device="cpu").train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    loss = StarbucksLoss(model, ranking(model), [(1, 8), (3, 32)], mini_batch_size=3, kl_weight=0)
    features = columns(2)
    torch.manual_seed(3)
    _, gradients = run(loss, model, features)
    name = "0.model.embeddings.word_embeddings.weight"
    weight = dict(model.named_parameters())[name]
    step = 1e-3 * gradients[name] / gradients[name].norm()
    found = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * step
        torch.manual_seed(3)
        found.append(loss([dict(column) for column in features]).item())
        with torch.no_grad():
            weight -= sign * step
    slope = (found[0] - found[1]) / 2e-3
    assert slope == pytest.approx(float(gradients[name].norm()), rel=0.01)


def test_gradient_checkpointing_changes_nothing(model):
    features = columns(2)
    plain = run(StarbucksLoss(model, ranking(model), [(1, 8), (3, 32)]), model, features)
    checkpoint_activations(model[0].auto_model)
    ran = []
    model[0].auto_model.encoder.layer[0].attention.register_forward_pre_hook(lambda *_: ran.append(1))
    agree(run(StarbucksLoss(model, ranking(model), [(1, 8), (3, 32)]), model, features), plain)
    assert len(ran) == 4, "each of two columns runs once forward and once more for the backward pass"


def test_a_final_norm_is_applied_to_every_layer(folder, tmp_path):
    torch.manual_seed(2)
    config = ModernBertConfig(
        vocab_size=62, hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=2, intermediate_size=48,
        pad_token_id=0, bos_token_id=1, eos_token_id=1, cls_token_id=1, sep_token_id=1,
    )  # fmt: skip
    for file in folder.glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    ModernBertModel(config).save_pretrained(tmp_path)
    model = SentenceTransformer(modules=[Transformer(str(tmp_path)), Pooling(WIDTH)], device="cpu").train()
    features = columns(2)

    def plain(features):
        total = torch.zeros(())
        for layer, dim in ((1, 8), (3, 32)):
            total = total + softmax_loss(*(vectors_at(model, column, layer) for column in features), dim)
        return total

    ours = StarbucksLoss(model, ranking(model), [(1, 8), (3, 32)], kl_weight=0)
    agree(run(ours, model, features), run(Plain(plain), model, features))


def test_trains_inside_a_sentence_transformer_trainer(model, tmp_path):
    from datasets import Dataset

    data = Dataset.from_dict({"anchor": ["1 2 3", "4 5 6"] * 8, "positive": ["1 2 9", "4 5 9"] * 8})
    loss = Matryoshka2dLoss(model, ranking(model), DIMS, n_dims_per_step=-1)
    before = model[0].auto_model.encoder.layer[0].output.dense.weight.detach().clone()
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), max_steps=3, report_to=[], save_strategy="no", use_cpu=True, learning_rate=1e-3,
        per_device_train_batch_size=4, dataloader_pin_memory=False, disable_tqdm=True,
    )  # fmt: skip
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss).train()
    assert not torch.equal(before, model[0].auto_model.encoder.layer[0].output.dense.weight)
    assert model[0].auto_model.config.output_hidden_states is False


def test_two_processes_give_the_gradients_of_one(folder, tmp_path):
    from tests.text.losses.in_two_processes import main

    together(2, lambda: main(folder, tmp_path))
    model = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(WIDTH)], device="cpu").train()
    for kind, loss in {
        "starbucks": StarbucksLoss(model, ranking(model), [(1, 8), (3, 32)]),
        "2dmse": Matryoshka2dLoss(model, ranking(model), [32, 16, 8]),
    }.items():
        _, expected = run(loss, model, columns(2, rows=8))  # draws as the first process does
        for rank in (0, 1):
            found = torch.load(tmp_path / f"{kind}-{rank}.pt", weights_only=True)
            agree((torch.zeros(()), found), (torch.zeros(()), expected))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda model: StarbucksLoss(model, ranking(model), [(1, 8), (4, 32)]), "exceeds the model"),
        (lambda model: StarbucksLoss(model, ranking(model), [(2, 8), (1, 32)]), "last size must contain"),
        (
            lambda model: StarbucksLoss(model, ranking(model), [(2, 8, 1)]),
            "tuple of 3 is no size of a menu",
        ),
        (lambda model: StarbucksLoss(model, ranking(model), Nesting(dims=(8,))), "layers and dims"),
        (lambda model: StarbucksLoss(model, ranking(model), [(3, 32)], kl_on="words"), "pooled, output, similarity"),
        (lambda model: Matryoshka2dLoss(model, ranking(model), [8, 64]), "embedding dimension of 32; got 64"),
        (lambda model: Matryoshka2dLoss(model, ranking(model), [8], min_layer=3), "no layer below"),
        (lambda model: AdaptiveLayerLoss(model, ranking(model), 0), "number of layers"),
        (lambda model: AdaptiveLayerLoss(model, ranking(model), layer_weighting="cubic"), "uniform, log, linear"),
        (lambda model: StarbucksLoss(model, ranking(model), [(3, 32)], mini_batch_size=0), "at least 1"),
        (lambda model: StarbucksLoss(model, peers.CachedMultipleNegativesRankingLoss(model), [(3, 32)]), "uncached"),
    ],
)
def test_what_cannot_be_trained_is_refused(model, make, words):
    with pytest.raises((AnysizeError, SizeError), match=words):
        make(model)


class Wrapper(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize("wrap", [lambda inner: inner, Wrapper, lambda inner: Wrapper(Wrapper(inner))])
def test_what_holds_no_encoder_is_of_the_wrong_type_and_named_with_what_is_inside(model, wrap):
    loss = AdaptiveLayerLoss(model, ranking(model))
    loss.model = wrap(torch.nn.Linear(2, 2))
    for error in (TypeError, AnysizeError):
        with pytest.raises(error, match=f"could not unwrap {type(loss.model).__name__} .*stopped at Linear"):
            loss([], None)


def test_layers_are_numbered_and_weighed_as_sentence_transformers_does(model):
    asked = []

    def weight(layer):
        asked.append(layer)
        return 0.5**layer

    loss = AdaptiveLayerLoss(model, ranking(model), -1, layer_weighting=weight)
    step = loss.plan()
    assert asked == list(range(loss.depth))
    shares = {layer: 0.5**layer / loss.depth for layer in asked}
    assert step.terms == {(loss.depth, None): 1.0} | {(layer, None): share for layer, share in shares.items()}
    assert Matryoshka2dLoss(model, ranking(model), [8], n_layers_per_step=-1).layers == tuple(range(1, loss.depth))
