import copy

import pytest
import torch
import transformers as hf

from anysize.backbones.blocks import check_layers, find_stack, shortened, tapped, truncated
from anysize.backbones.leaving import left_after
from anysize.core.errors import AnysizeError, SizeError

SHAPE = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
DISTIL = {"vocab_size": 60, "dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 40}
CONFIGS = {
    "bert": lambda: hf.BertConfig(**SHAPE),
    "roberta": lambda: hf.RobertaConfig(**SHAPE),
    "xlm-roberta": lambda: hf.XLMRobertaConfig(**SHAPE),
    "mpnet": lambda: hf.MPNetConfig(**SHAPE),
    "distilbert": lambda: hf.DistilBertConfig(**DISTIL),
    "electra": lambda: hf.ElectraConfig(**SHAPE, embedding_size=32),
    "modernbert": lambda: hf.ModernBertConfig(**SHAPE, cls_token_id=1, sep_token_id=2),
    "llama": lambda: hf.LlamaConfig(**SHAPE),
    "qwen2": lambda: hf.Qwen2Config(**SHAPE, num_key_value_heads=2),
    "qwen3": lambda: hf.Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=8),
    "deberta-v2": lambda: hf.DebertaV2Config(**SHAPE),
}
PRE_NORM = {"modernbert", "llama", "qwen2", "qwen3"}


@pytest.fixture(params=CONFIGS)
def kind(request):
    return request.param


@pytest.fixture
def model(kind):
    torch.manual_seed(0)
    made = hf.AutoModel.from_config(CONFIGS[kind]()).eval()
    for name, weight in made.named_parameters():
        if "norm" in name.lower() and weight.ndim == 1:  # as after training: a norm that is not the identity
            weight.data += 0.3 * torch.randn_like(weight)
    return made


@pytest.fixture
def inputs():
    ids = torch.randint(3, 60, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask}


@torch.no_grad()
def test_a_tapped_layer_is_the_truncated_model(kind, model, inputs):
    stack = find_stack(model)
    assert stack.depth == 4
    assert (stack.final_norm is not None) == (kind in PRE_NORM)
    whole = model(**inputs).last_hidden_state
    taps = tapped(model, inputs, [1, 2, 3, 4], stack)
    torch.testing.assert_close(taps[4], whole, atol=1e-5, rtol=0)
    for layers in (1, 2, 3):
        # Independently: a model built with so many layers and given the weights that it has a place for.
        config = copy.deepcopy(model.config)
        config.num_hidden_layers = layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:layers]
        small = hf.AutoModel.from_config(config).eval()
        weights = model.state_dict()
        small.load_state_dict({name: weights[name] for name in small.state_dict()})
        expected = small(**inputs).last_hidden_state
        torch.testing.assert_close(taps[layers], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(truncated(model, layers)(**inputs).last_hidden_state, expected, atol=1e-5, rtol=0)
        assert float((expected - whole).abs().max()) > 1e-3


def test_a_truncated_model_shares_weights_runs_less_and_leaves_the_whole_alone(kind, model, inputs):
    stack = find_stack(model)
    ran = []
    for place, block in enumerate(stack.blocks(model)):
        block.register_forward_hook(lambda *_, place=place: ran.append(place))
    short = truncated(model, 2, stack)
    short(**inputs)
    assert ran == [0, 1]
    assert len(stack.blocks(model)) == model.config.num_hidden_layers == 4
    assert short.config.num_hidden_layers == 2
    pointers = {weight.data_ptr() for weight in model.parameters()}
    assert {weight.data_ptr() for weight in short.parameters()} < pointers
    ran.clear()
    tapped(model, inputs, [1, 3], stack)
    assert ran == [0, 1, 2]


def test_a_truncated_model_saves_as_an_ordinary_one(kind, model, inputs, tmp_path):
    short = truncated(model, 2)
    short.save_pretrained(tmp_path)
    loaded = hf.AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs).last_hidden_state, short(**inputs).last_hidden_state)


def test_lists_of_one_entry_a_layer_are_cut():
    config = hf.ModernBertConfig(**SHAPE, cls_token_id=1, sep_token_id=2)
    assert shortened(config, 2).layer_types == config.layer_types[:2]
    assert len(config.layer_types) == 4


@pytest.mark.parametrize("layers", [0, 5])
def test_layers_out_of_range_are_refused(layers):
    model = hf.BertModel(hf.BertConfig(**SHAPE))
    with pytest.raises(SizeError, match=f"layers={layers} is out of range; this model has layers 1 to 4"):
        truncated(model, layers)
    with pytest.raises(SizeError):
        check_layers(find_stack(model), [layers])


def test_a_model_that_shares_one_block_has_no_stack():
    config = hf.AlbertConfig(
        vocab_size=60, hidden_size=32, embedding_size=16, num_attention_heads=4, intermediate_size=48, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, num_hidden_layers=4,
    )  # fmt: skip
    with pytest.raises(AnysizeError, match=r"'albert' has no single list of blocks.*supported are BERT"):
        find_stack(hf.AlbertModel(config))


@torch.no_grad()
def test_rows_that_leave_after_their_depth_have_the_state_of_the_model_that_ends_there(kind, model):
    stack, depths = find_stack(model), [4, 4, 3, 1, 1]
    ids = torch.randint(3, 60, (5, 9), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 6:], mask[3, 4:] = 0, 0
    inputs, ran = {"input_ids": ids, "attention_mask": mask}, []
    for place, block in enumerate(stack.blocks(model)):
        block.register_forward_hook(lambda _block, given, _out, place=place: ran.append((place, len(given[0]))))
    states = left_after(model, inputs, depths, [1, 2, 3, 4], stack)
    assert ran == [(0, 5), (1, 3), (2, 3), (3, 2)]  # no block sees a row that needs it no more
    for depth, rows in {1: 5, 2: 3, 3: 3, 4: 2}.items():
        alone = truncated(model, depth, stack)(**inputs).last_hidden_state[:rows]
        torch.testing.assert_close(states[depth][mask[:rows] == 1], alone[mask[:rows] == 1], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_pass_in_which_rows_leave_changes_no_pass_of_the_model_beside_it(kind, model, inputs):
    stack = find_stack(model)
    alone = model(**inputs).last_hidden_state
    meanwhile = []

    # What another thread may do in the middle of the pass: run the same model.
    def beside(*_):
        handle.remove()
        meanwhile.append(model(**inputs).last_hidden_state)

    handle = stack.blocks(model)[1].register_forward_hook(beside)
    ids = torch.randint(3, 60, (3, 7), generator=torch.Generator().manual_seed(3))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    states = left_after(model, given, [3, 2, 1], [1, 2, 3], stack)
    torch.testing.assert_close(meanwhile[0], alone)
    assert [len(states[depth]) for depth in (1, 2, 3)] == [3, 2, 1]
    assert not any(block._forward_pre_hooks for block in stack.blocks(model))
