"""
Small random language models and sentence encoders with tokenizers of their own: what exports are tried on.

All weights are random, biases and norms too, so that nothing that a file leaves out goes unnoticed.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from anysize.core.quiet import quiet
from anysize.core.sizes.nesting import Nesting
from anysize.quantize import CausalLM, Scheme
from anysize.quantize.export.gguf_pairs import PATTERNS
from anysize.quantize.model.making import finished, prepared
from anysize.text import NestedEncoder

CORPUS = (
    "the quick brown fox jumps over the lazy dog while other animals watch",
    "run a function after a delay and return what it returned",
    "NASA launched two rockets in 1984 and it cost 1234 dollars",
    "naïve façade brûlée Zürich São Paulo résumé",
    "a model of language says what comes next in the text",
)
WORDS = sorted({word for line in CORPUS for word in line.split()})
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789éüïçã.,;:!?$%()'-=*#"


def word_pieces(rng: random.Random, **options: Any) -> Any:
    """A BERT tokenizer: special tokens anywhere in the vocabulary. Options: those of `BertNormalizer`, and a prefix."""
    prefix = options.pop("prefix", "##")
    template = options.pop("template", "[CLS] $A [SEP]")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*WORDS, *(word.lower() for word in WORDS), *LETTERS, *(f"{prefix}{letter}" for letter in LETTERS)]
    pieces = list(dict.fromkeys([*special, *pieces, f"{prefix}ing", f"{prefix}s"]))
    if options.pop("shuffled", True):
        rng.shuffle(pieces)
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix=prefix))
    backend.normalizer = normalizers.BertNormalizer(**{"lowercase": True, "strip_accents": None, **options})
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(single=template, special_tokens=ends)
    named = {f"{token[1:-1].lower()}_token": token for token in special}
    return fast(backend, **named)


def byte_pairs(words: str, *, begins: bool = False, ends: bool = False, size: int = 300) -> Any:
    """Byte-level BPE as GPT-2, Llama 3, Qwen2 or SmolLM cut words (by llama.cpp's name), or with a space in front."""
    backend = Tokenizer(models.BPE(ignore_merges=words == "llama-bpe"))
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=words == "spaced", use_regex=words not in PATTERNS.values())
    if words in PATTERNS.values():
        pattern = next(pattern for pattern, name in PATTERNS.items() if name == words)
        cut = pre_tokenizers.Split(Regex(pattern), "isolated")
        backend.pre_tokenizer = pre_tokenizers.Sequence([cut, bytes_alone])
    elif words == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_alone])
    else:
        backend.pre_tokenizer = bytes_alone
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    return _ended(backend, begins, ends)


def sentence_pieces(*, begins: bool = True, ends: bool = False, prefix: bool = True) -> Any:
    """BPE over characters with bytes to fall back on, as in Llama 2."""
    lines = [f"\u2581{line}".replace(" ", "\u2581") for line in CORPUS]
    trained = Tokenizer(models.BPE())
    trained.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=120, show_progress=False))
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{value:02X}>": 3 + value for value in range(256)}}
    for token, _ in sorted(trained.get_vocab().items(), key=lambda pair: pair[1]):
        if len(token) == 1:
            vocabulary.setdefault(token, len(vocabulary))
    # As SentencePiece's own: a token's merges are all ways to make it, and they stand together.
    wholes = [token for token, _ in sorted(trained.get_vocab().items(), key=lambda pair: pair[1]) if len(token) > 1]
    for token in wholes:
        vocabulary.setdefault(token, len(vocabulary))
    merges = [
        (token[:place], token[place:])
        for token in wholes
        for place in range(1, len(token))
        if token[:place] in vocabulary and token[place:] in vocabulary
    ]
    model = models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    backend = Tokenizer(model)
    spaces = normalizers.Replace(" ", "\u2581")
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), spaces]) if prefix else spaces
    return _ended(backend, begins, ends, unk_token="<unk>")


def whole_words() -> Any:
    """A tokenizer of a kind that llama.cpp does not know."""
    places = {word: place for place, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    backend = Tokenizer(models.WordLevel(places, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return _ended(backend, False, False, unk_token="<unk>")


def _ended(backend: Any, begins: bool, ends: bool, **named: str) -> Any:
    given = [(token, backend.token_to_id(token)) for token in ("<s>", "</s>")]
    single = f"{'<s> ' if begins else ''}$A{' </s>' if ends else ''}"
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=given)
    return fast(backend, bos_token="<s>", eos_token="</s>", **named)


def fast(backend: Any, **named: str) -> Any:
    """The tokenizer as transformers knows it."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)


@torch.no_grad()
def shaken(model: Any, seed: int, strength: float = 0.25) -> Any:
    """Random weights of a size at which every part of a model matters: matrices by their width, norms about 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if weight.dim() == 1:
            weight.copy_(strength * noise + float("norm" in name.lower() and name.endswith("weight")))
        else:
            weight.copy_(noise * (1.0 if "embed" in name else 1.5 / weight.shape[1] ** 0.5))
    return model.eval()


def language_model(config: Any, tokenizer: Any, seed: int = 0, modules: str = "*.mlp.down_proj", **options: Any) -> Any:
    """A quantised model of a configuration of transformers, with its tokenizer, or None for token ids alone."""
    from transformers import AutoModelForCausalLM

    base = CausalLM.from_pretrained(shaken(AutoModelForCausalLM.from_config(config), seed))
    base.tokenizer = tokenizer
    return _quantised(base, modules, **options)


def sentence_encoder(
    config: Any, tokenizer: Any, folder: Path, seed: int = 0, modules: str = "*.output.dense", **options: Any
) -> Any:
    """A quantised BERT with its tokenizer. Options beside those of `prepared`: length, pooling, module, prompts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoModel

    length, pooling = options.pop("length", None), options.pop("pooling", "mean")
    module, prompts = options.pop("module", {}), options.pop("prompts", None)
    pools = options.pop("pools", {})
    with quiet():
        shaken(AutoModel.from_config(config), seed).save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
        transformer = Transformer(str(folder), max_seq_length=length, **module)
        parts = [transformer, Pooling(config.hidden_size, pooling_mode=pooling, **pools)]
        model = SentenceTransformer(modules=parts, device="cpu", prompts=prompts)
        model.save(str(folder / "model"), create_model_card=False)
    base = NestedEncoder.from_pretrained(folder / "model", dims=(config.hidden_size,))
    return _quantised(base, modules, **options)


def _quantised(base: Any, modules: str, bits: int = 8, **options: Any) -> Any:
    scheme = Scheme(symmetric=True, group_size=32)
    made = finished(prepared(base, Nesting(bits=(4, 8)), modules=modules, scheme=scheme, **options))
    return made.at(bits=bits)
