import pytest

from anysize.core.sizes.nesting import Nesting
from anysize.quantize.model.making import finished, prepared
from anysize.text import NestedEncoder
from tests.conftest import WIDTH, WORDS


@pytest.fixture
def base(encoder_path):
    """A function that gives the float encoder anew, since quantising changes it in place."""
    return lambda **sizes: NestedEncoder.from_pretrained(encoder_path, **(sizes or {"dims": (WIDTH,)}))


@pytest.fixture
def made(base):
    """A function that gives a quantised encoder with these options."""

    def make(nesting=None, sizes=None, **options):
        nesting = nesting or Nesting(bits=(2, 4, 8))
        return finished(prepared(base(**(sizes or {})), nesting, **options))

    return make


@pytest.fixture(scope="session")
def lm_path(tmp_path_factory):
    """A folder with a random Llama of width 32 and two layers, with a tokenizer of whole words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    root = tmp_path_factory.mktemp("lm")
    words = ["<unk>", "<s>", "</s>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(str(root))
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        initializer_range=0.3,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).eval().save_pretrained(str(root))
    torch.random.set_rng_state(state)
    return root
