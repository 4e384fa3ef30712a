"""Low-rank adapters and experts of single sizes over a vision-language model that stays as it is."""

import copy
import itertools

import pytest
import torch
from torch.nn import functional

from anysize.backbones.vision.llava import VisionLanguage
from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.training.trainer import TrainingPlan
from anysize.core.verbs.fit import fit
from anysize.core.verbs.load import load
from anysize.core.verbs.measure import measure
from anysize.testing import check_nested_model
from anysize.tokens import M3, MQT
from anysize.tokens.draws import Draw
from anysize.tokens.vlm.model import NestedVLM
from anysize.tokens.vlm.training import AnswerTraining, learn
from tests.tiny_vlm import tiny_llava
from tests.tokens.vlm.test_fit import shown
from tests.tokens.vlm.test_model import ASKED, POOL
from tests.tokens.vlm.test_training import LEARNT, batch, plain

LORA = {"kind": "lora", "strategy": "ss", "rank": 2, "alpha": 6.0, "targets": ["q_proj", "v_proj"]}
MOME = {
    "kind": "mome", "experts": 4, "shared_experts": 1, "top_k": 2, "bottleneck": 3, "placement": "mlp",
    "router": "shared", "normalize": False, "balance": 0.5,
}  # fmt: skip
KINDS = {
    "ms": LORA | {"strategy": "ms"}, "ss": LORA, "mss": LORA | {"strategy": "mss"}, "mome": MOME,
    "routers": MOME | {"router": "per-scale", "placement": "attn"},
}  # fmt: skip


def adapted(adapter, sizes=(1, 4, 16)):
    """With weights that have moved from where they change nothing."""
    torch.manual_seed(1)
    model = NestedVLM(Nesting(tokens=sizes), VisionLanguage(*tiny_llava()), POOL | {"adapter": adapter}).eval()
    with torch.no_grad():
        for weight in model.adapters.weights().values():
            weight += 0.1 * torch.randn_like(weight)
    return model


def unadapted():
    return VisionLanguage(*tiny_llava())


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_every_promise_of_a_nested_model(kind):
    check_nested_model(adapted(KINDS[kind]), ASKED, shape=lambda size: (2, 19))


@pytest.mark.parametrize("kind", ["ms", "ss", "mss"])
def test_low_rank_adapters_are_their_products_added_to_the_weights(kind):
    model = adapted(KINDS[kind])
    found = model.outputs(ASKED)
    for size in model.nesting:
        other = unadapted()
        names = {"ms": ["shared"], "ss": [f"tokens{size.tokens}"], "mss": ["shared", f"tokens{size.tokens}"]}[kind]
        mine = dict(model.vlm.language.named_modules())
        with torch.no_grad():
            for path, layer in other.language.named_modules():
                if path.endswith(("q_proj", "v_proj")):
                    for name in names:
                        layer.weight += 3.0 * mine[path].lora_B[name].weight @ mine[path].lora_A[name].weight
        same = NestedVLM(model.nesting, other, POOL).eval()
        torch.testing.assert_close(found[size], same.outputs(ASKED)[size], atol=1e-5, rtol=1e-4)


def test_experts_are_what_each_gives_by_itself_added_beside_the_block():
    model = adapted(MOME)
    found = model.outputs(ASKED)
    other = unadapted()

    def beside(layer):
        def add(_, given, output):
            h = given[0].flatten(0, -2)
            p = (h @ layer.routers["shared"].T).softmax(-1)
            best = p.topk(2).indices
            rows = []
            for place, row in enumerate(h):
                each = [layer.up[:, 3 * n : 3 * n + 3] @ functional.gelu(layer.down[3 * n : 3 * n + 3] @ row)
                        for n in range(5)]  # fmt: skip
                rows.append(each[4] + sum(p[place, n] * each[n] for n in best[place].tolist()))
            return output + torch.stack(rows).view_as(output)

        return add

    for layer, block in zip(model.adapters.layers, other.language.layers, strict=True):
        block.mlp.register_forward_hook(beside(layer))
    same = NestedVLM(model.nesting, other, POOL).eval()
    for size, expected in same.outputs(ASKED).items():
        torch.testing.assert_close(found[size], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["ss", "mome"])
def test_going_on_with_the_cache_gives_what_the_whole_sequence_gives(kind):
    model = adapted(KINDS[kind])
    read = model.read(ASKED)
    said = model.answers(read, tokens=[4, 16], max_new_tokens=3)
    assert said == [
        model.at(tokens=count).generate([one], max_new_tokens=3)[0] for one, count in zip(ASKED, (4, 16), strict=True)
    ]
    asked, ids = read.prompts[0].ids([4], 4), []
    kept = model.budget.keep(read.tokens[:1], 4, model.vlm.shape)[0]
    for _ in range(3):
        with torch.no_grad(), model.adapting(4):
            embedded = model.net.get_input_embeddings()(torch.tensor([[*asked, *ids]]))
            embedded[0, [place for place, one in enumerate(asked) if one == 4]] = kept
            ids.append(int(model.net(inputs_embeds=embedded).logits[0, -1].argmax()))
    assert said[0] == model.vlm.tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_the_loss_has_every_size_with_its_own_adapter_and_balance():
    model = adapted(MOME)
    module = AnswerTraining(model, Draw("all")).train()
    loss = module(**batch(model))["loss"]
    expected, balance = [], []
    for size in model.nesting:
        model.eval()
        with model.adapting(size.tokens):
            expected.append(plain(model, size.tokens))
        model.train()
        prompts = batch(model)["prompts"]
        kept = model.keep(model.vlm.encode(batch(model)["pixels"]), [size])[size]
        whole = model.vlm.batch(prompts, [[size.tokens]] * len(prompts))
        with model.adapting(size.tokens, whole):
            model.vlm.logits(whole, list(kept))
        balance.append(torch.stack(model.adapters.ran.balance).mean())
    wanted = torch.stack(expected).mean() + 0.5 * torch.stack(balance).mean()
    torch.testing.assert_close(loss, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["ss", "mome"])
@pytest.mark.parametrize(("parts", "tower"), [("language", False), ("all", True)], ids=["language", "all"])
def test_the_language_model_stays_as_it_is_and_each_size_learns(kind, parts, tower, tmp_path):
    model = adapted(KINDS[kind])
    before = copy.deepcopy(model.saved_state())
    plan = TrainingPlan(epochs=4, batch_size=3, learning_rate=1e-2, warmup_ratio=0.0)
    losses = learn(model, LEARNT, plan, tmp_path, draw=Draw("all"), parts=parts)
    assert losses[-1]["loss"] < losses[0]["loss"]
    moved = {name for name, value in model.saved_state().items() if not torch.equal(value, before[name])}
    mine = {name for name in before if ".lora_" in name or name.startswith("adapters.")}
    assert {name for name in moved if "vision_tower" not in name and "projector" not in name} == mine
    assert any("projector" in name for name in moved)
    assert any("vision_tower" in name for name in moved) == tower
    assert all(weight.requires_grad for weight in model.parameters())


def test_it_is_fitted_saved_measured_and_cut(tmp_path):
    net, processor = tiny_llava()
    net.save_pretrained(tmp_path / "vlm")
    processor.save_pretrained(tmp_path / "vlm")
    common = {"model": str(tmp_path / "vlm"), "tokens": (1, 4, 16), "epochs": 2.0, "batch_size": 6}
    data = shown(20, 1)
    fit(data, method=M3(**common, adapters="ss", rank=2, align_epochs=1.0), out=tmp_path / "eye")
    eye = load(tmp_path / "eye")
    frontier = measure(eye, data, arms=["full-cut"], max_new_tokens=2, by="answers")
    assert {record.arm for record in frontier.records} == {"nested", "full-cut"}
    small = eye.at(tokens=4).extract()
    assert {name.split(".")[-2] for name in small.adapters.weights()} == {"tokens1", "tokens4"}
    for one, more in itertools.pairwise([eye.at(size).cost().parameters for size in eye.nesting]):
        assert more - one == 2 * 2 * (2 * 16 + 16 + 8)  # two blocks; q is 16 x 16, v 8 x 16, of rank 2
    queried = fit(data, method=MQT(**{**common, "tokens": (1, 2, 8)}, heads=4, adapters="mome", bottleneck=2))
    assert queried.at(tokens=5).generate(ASKED, max_new_tokens=1)  # one router serves any number
    with pytest.raises(SizeError, match="adapters of this model belong to single sizes, so it runs at"):
        small.again(Nesting(tokens=(16,)))
    with pytest.raises(AnysizeError, match="transformers has no model with these adapters"):
        eye.at(tokens=4).export(tmp_path / "theirs", "transformers")
    eye.at(tokens=4).export(tmp_path / "small", "anysize")
    assert load(tmp_path / "small").nesting == small.nesting


def test_options_that_contradict_each_other():
    for options, words in (
        ({"adapters": "ms", "lora": 4}, "give one of the two"),
        ({"adapters": "mome", "train": "projector"}, "train=projector teaches no adapters"),
        ({"adapters": "ss", "draw": "uniform"}, "give --draw all or random, not uniform"),
        ({"adapters": "mome", "router": "per-scale", "draw": "uniform"}, "not uniform"),
        ({"adapters": "mome", "top_k": 9}, "top-k chooses among 8 experts"),
    ):
        with pytest.raises(AnysizeError, match=words):
            M3(model="m", tokens=(1, 4), **options)
