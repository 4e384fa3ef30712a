"""
The tokenizer that a GGUF file carries: WordPiece, byte-level BPE, or SentencePiece's BPE with bytes to fall back on.

llama.cpp has code for a few kinds of each; what a tokenizer does beside them is refused by name. What was written is
then compared with the tokenizer itself, by running the engine.
"""

from __future__ import annotations

import json
from typing import Any

from anysize.core.errors import AnysizeError
from anysize.quantize.export.gguf_pairs import byte_level, sentence_pieces
from anysize.quantize.export.gguf_settings import refuse_unless


def write_words(gguf: Any, writer: Any, tokenizer: Any, vocabulary: int, *, sentences: bool) -> list[str]:
    """
    Write the tokenizer; returns notes for users of the file.

    `vocabulary` is the number of rows of the table. Raises `AnysizeError` for what the file cannot say.
    """
    refuse_unless(tokenizer is not None, "a model without a tokenizer, of which llama.cpp reads nothing")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    refuse_unless(backend is not None, f"a tokenizer of the kind {type(tokenizer).__name__}")
    assert backend is not None
    found = json.loads(backend.to_str())
    highest = max(tokenizer.get_vocab().values())
    refuse_unless(highest < vocabulary, f"a token {highest}, where the table of words has {vocabulary} rows")
    kind = found["model"]["type"]
    _refuse_unusual(backend, found["added_tokens"], spaced=kind != "WordPiece")
    if sentences:
        refuse_unless(kind == "WordPiece", f"a BERT with a tokenizer of the kind {kind}, not WordPiece")
        return _word_pieces(gguf, writer, tokenizer, found, vocabulary)
    refuse_unless(kind == "BPE", f"a tokenizer of the kind {kind}, not BPE")
    fallback = bool(found["model"].get("byte_fallback"))
    merges = sentence_pieces(writer, found) if fallback else byte_level(writer, found)
    tokens = listed(tokenizer, vocabulary)
    types = token_types(gguf, tokenizer, found, vocabulary)
    _refuse_repeated(tokens)
    writer.add_token_list([token.encode("utf-8") for token in tokens])
    writer.add_token_types(types)
    if fallback:
        writer.add_token_scores(scores(tokens, merges))
    else:
        writer.add_token_merges([f"{left} {right}" for left, right in merges])
    _write_ids(writer, tokenizer, ("bos", "eos", "unk", "pad"))
    _write_ends(writer, tokenizer)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)
    return []


def listed(tokenizer: Any, vocabulary: int) -> list[str]:
    """Every token by its id; rows without a token get a name of their own."""
    by_place = {place: token for token, place in tokenizer.get_vocab().items()}
    return [by_place.get(place, f"[unused row {place}]") for place in range(vocabulary)]


def token_types(gguf: Any, tokenizer: Any, found: dict[str, Any], vocabulary: int) -> list[int]:
    """What each token is: special ones are matched in a text before it is cut, and so are others that were added."""
    kinds = gguf.TokenType
    there = set(tokenizer.get_vocab().values())
    types = [int(kinds.NORMAL if place in there else kinds.UNUSED) for place in range(vocabulary)]
    if found["model"].get("byte_fallback"):
        for value in range(256):
            place = found["model"]["vocab"].get(f"<0x{value:02X}>")
            if place is not None:
                types[place] = int(kinds.BYTE)
    for token in found["added_tokens"]:
        types[token["id"]] = int(kinds.CONTROL if token["special"] else kinds.USER_DEFINED)
    return types


def scores(tokens: list[str], merges: list[tuple[str, str]]) -> list[float]:
    """SentencePiece joins the pair whose whole has the highest score: minus the place of its first merge."""
    rank: dict[str, int] = {}
    for place, (left, right) in enumerate(merges):
        rank.setdefault(left + right, place)
    return [-float(rank.get(token, len(merges))) for token in tokens]


def _word_pieces(gguf: Any, writer: Any, tokenizer: Any, found: dict[str, Any], vocabulary: int) -> list[str]:
    """A BERT vocabulary as llama.cpp wants it: beginnings of words marked, continuations bare."""
    model, normal = found["model"], found["normalizer"] or {}
    refuse_unless(model.get("continuing_subword_prefix") == "##", "WordPiece without ## before the middle of a word")
    steps = [normal] if normal.get("type") != "Sequence" else normal["normalizers"]
    lowered = (
        steps[0].get("type") == "Lowercase" and len(steps) == 2
    )  # as sentence-transformers' do_lower_case writes it
    last = steps[-1]
    refuse_unless(
        (len(steps) == 1 or lowered) and last.get("type") == "BertNormalizer",
        f"texts that are put in order by {normal.get('type', 'nothing')}, not as BERT does it",
    )
    refuse_unless(
        bool(last["clean_text"]) and bool(last["handle_chinese_chars"]), "a BERT that keeps control characters"
    )
    before = (found["pre_tokenizer"] or {}).get("type")
    refuse_unless(before == "BertPreTokenizer", f"texts that are cut into words by {before}, not as BERT does it")
    for name in ("cls", "sep", "unk"):
        place = getattr(tokenizer, f"{name}_token_id")
        refuse_unless(place is not None, f"a tokenizer without a {name} token")
    ends = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    refuse_unless(tokenizer("")["input_ids"] == ends, "a BERT that does not put [CLS] before a text and [SEP] after it")
    special = {token["id"] for token in found["added_tokens"]} | set(tokenizer.all_special_ids)
    tokens = [
        token if place in special else token[2:] if token.startswith("##") else f"\u2581{token}"
        for place, token in enumerate(listed(tokenizer, vocabulary))
    ]
    _refuse_repeated(tokens)
    types = token_types(gguf, tokenizer, found, vocabulary)
    lower = lowered or bool(last["lowercase"])
    accents = last["strip_accents"]
    strip = bool(last["lowercase"] if accents is None else accents)
    writer.add_tokenizer_model("bert")
    writer.add_token_list([token.encode("utf-8") for token in tokens])
    writer.add_token_types(types)
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", lower)
    writer.add_bool("tokenizer.ggml.normalizer.strip_accents", strip)
    _write_ids(writer, tokenizer, ("unk", "sep", "pad", "mask"))
    # Old versions of the engine read the first of these, newer ones the second.
    writer.add_uint32("tokenizer.ggml.cls_token_id", tokenizer.cls_token_id)
    writer.add_bos_token_id(tokenizer.cls_token_id)
    if lower and strip:
        return []
    kept = " and ".join(word for word, gone in (("capitals", lower), ("accents", strip)) if not gone)
    return [f"the tokenizer keeps {kept}, which old versions of llama.cpp drop; that of xllamacpp 2026.10 keeps them"]


def _refuse_unusual(backend: Any, added: list[dict[str, Any]], *, spaced: bool) -> None:
    """The engine finds added tokens in a text as it was given, letter by letter, and takes no spaces with them."""
    for token in added:
        content = token["content"]
        changed = token["normalized"] and backend.normalizer and backend.normalizer.normalize_str(content) != content
        refuse_unless(not changed, f"the added token {content!r}, which is looked for after texts are put in order")
        refuse_unless(
            not token["single_word"], f"the added token {content!r}, which is looked for as a whole word alone"
        )
        strips = spaced and (token["lstrip"] or token["rstrip"])
        refuse_unless(not strips, f"the added token {content!r}, which takes the spaces beside it")


def _write_ids(writer: Any, tokenizer: Any, names: tuple[str, ...]) -> None:
    for name in names:
        place = getattr(tokenizer, f"{name}_token_id", None)
        if place is not None:
            getattr(writer, f"add_{name}_token_id")(int(place))


def _write_ends(writer: Any, tokenizer: Any) -> None:
    """Whether texts begin and end with special tokens, as the tokenizer itself does it."""
    bare, whole = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (False, True))
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    for begins in (False, True):
        for ends in (False, True):
            if whole == [bos] * begins + bare + [eos] * ends:
                writer.add_add_bos_token(begins)
                writer.add_add_eos_token(ends)
                return
    raise AnysizeError(
        f"gguf puts at most one token before a text ({bos}) and one after it ({eos}), and this tokenizer makes {whole} "
        f"of {bare}; cut with --format onnx"
    )


def _refuse_repeated(tokens: list[str]) -> None:
    seen: set[str] = set()
    for token in tokens:
        refuse_unless(token not in seen, f"two tokens that it would both write as {token!r}")
        seen.add(token)
