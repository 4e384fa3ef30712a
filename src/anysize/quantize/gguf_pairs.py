"""The two kinds of byte-pair encoding that llama.cpp knows: over bytes, and SentencePiece's over characters."""

from __future__ import annotations

from typing import Any

from anysize.quantize.gguf_settings import refuse_unless

_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {_LETTERS + r"\p{N}{1,3}" + _REST: "llama-bpe", _LETTERS + r"\p{N}" + _REST: "qwen2"}
"""How a published tokenizer cuts texts into words -> the engine's name for it."""


def byte_level(writer: Any, found: dict[str, Any]) -> list[tuple[str, str]]:
    """GPT-2's kind, where each byte is a character: how words are cut, by the engine's name; returns the merges."""
    model = found["model"]
    pre = _words(found["pre_tokenizer"] or {})
    whole = bool(model.get("ignore_merges"))
    refuse_unless(
        whole == (pre == "llama-bpe"),
        f"words that are {'' if whole else 'not '}taken whole where they are in the vocabulary, cut as {pre} cuts them",
    )
    normal = (found["normalizer"] or {}).get("type")
    refuse_unless(normal is None or (normal == "NFC" and pre == "qwen2"), f"texts that are put in order by {normal}")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    return _merges(model)


def sentence_pieces(writer: Any, found: dict[str, Any]) -> list[tuple[str, str]]:
    """SentencePiece's kind, as in Llama 2 and Mistral: spaces as a character of their own; returns the merges."""
    model = found["model"]
    steps = _steps(found["normalizer"], "normalizers")
    before = found["pre_tokenizer"] or {}
    spaced = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    if not before and steps and steps[-1] == spaced:
        prefixed = len(steps) == 2 and steps[0] == {"type": "Prepend", "prepend": "\u2581"}
        right = prefixed or len(steps) == 1
    else:
        right = not steps and before.get("type") == "Metaspace" and before.get("replacement") == "\u2581"
        right = right and before.get("split") is False
        prefixed = before.get("prepend_scheme") != "never"
    refuse_unless(right, "texts that are cut into words in another way than SentencePiece does it")
    refuse_unless(not model.get("ignore_merges"), "words that are taken whole where they are in the vocabulary")
    missing = [value for value in range(256) if f"<0x{value:02X}>" not in model["vocab"]]
    refuse_unless(not missing, f"a vocabulary without a token for each byte ({len(missing)} are missing)")
    merges = _merges(model)
    _refuse_unscored(merges, model["vocab"])
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_add_space_prefix(prefixed)
    return merges


def _words(before: dict[str, Any]) -> str:
    """The engine's name for how texts are cut into words."""
    steps = _steps(before, "pretokenizers")
    kinds = [step["type"] for step in steps]
    last = steps[-1] if steps else {}
    refuse_unless(last.get("type") == "ByteLevel", f"BPE over words that {', '.join(kinds) or 'nothing'} cuts")
    refuse_unless(not last["add_prefix_space"], "BPE with a space put before a text")
    if kinds == ["ByteLevel"] and last["use_regex"]:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and last["use_regex"] and steps[0]["individual_digits"]:
        return "smollm"
    pattern = steps[0].get("pattern", {}).get("Regex") if kinds == ["Split", "ByteLevel"] else None
    known = pattern in PATTERNS and steps[0]["behavior"] == "Isolated" and not steps[0]["invert"]
    refuse_unless(known and not last["use_regex"], f"BPE over words that are cut by {', '.join(kinds)} {pattern or ''}")
    return PATTERNS[str(pattern)]


def _steps(given: dict[str, Any] | None, inside: str) -> list[dict[str, Any]]:
    if not given:
        return []
    return list(given[inside]) if given["type"] == "Sequence" else [given]


def _merges(model: dict[str, Any]) -> list[tuple[str, str]]:
    for part in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        refuse_unless(not model.get(part), f"BPE with {part.replace('_', ' ')}")
    pairs = (pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model["merges"])
    return [(left, right) for left, right in pairs]


def _refuse_unscored(merges: list[tuple[str, str]], vocabulary: dict[str, int]) -> None:
    """The engine joins by scores of tokens, not by pairs: all pairs of a token must stand together, none missing."""
    known, last = set(merges), ""
    done: set[str] = set()
    for left, right in merges:
        whole = left + right
        refuse_unless(whole == last or whole not in done, f"merges in which {whole!r} comes in two places")
        done.add(whole)
        last = whole
    for token in done:
        cuts = ((token[:place], token[place:]) for place in range(1, len(token)))
        lost = next((cut for cut in cuts if cut[0] in vocabulary and cut[1] in vocabulary and cut not in known), None)
        refuse_unless(lost is None, f"merges without {lost}, which the engine would join to {token!r}")
