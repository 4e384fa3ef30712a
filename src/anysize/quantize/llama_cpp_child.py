"""
Runs llama.cpp on a GGUF file: a program of its own, since the engine ends its process where it disagrees with a file.

Reads a question as JSON from the file that is named first and writes the answer to the one named second. Needs
xllamacpp and the standard library alone, so that it starts at once.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

import xllamacpp

FLOAT32, NO_FLASH_ATTENTION = 0, 0
"""ggml_type and llama_flash_attn_type: keys and values in single precision, as we compute."""


def main(question: Path, answer: Path) -> None:
    """Tokens of each text, then its vector, or the log-probabilities of what comes after it."""
    asked = json.loads(question.read_text("utf-8"))
    server = started(asked)
    texts, given = asked["texts"], asked["ids"]
    found: dict[str, Any] = {"tokens": [tokens(server, text) for text in texts]}
    found["told"] = [tokens(server, text) for text in asked["told"]]
    if asked["embedding"]:
        found["vectors"] = [vector(server, text) for text in texts]
    else:
        found["next"] = [following(server, ids, asked["likeliest"], asked["letter"]) for ids in given]
    answer.write_text(json.dumps(found), "utf-8")


def started(asked: dict[str, Any]) -> Any:
    """The engine with the file loaded, computing as exactly as it can."""
    params = xllamacpp.CommonParams()
    params.model.path = asked["file"]
    params.embedding, params.warmup = asked["embedding"], False
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked["threads"]
    params.n_ctx = params.n_batch = params.n_ubatch = asked["context"]
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type(FLOAT32)
    params.flash_attn_type = xllamacpp.llama_flash_attn_type(NO_FLASH_ATTENTION)
    params.fit_params = False
    return xllamacpp.Server(params)


def tokens(server: Any, text: str) -> list[int]:
    """The ids that the file's tokenizer gives, special ones included."""
    body = json.dumps({"content": text, "add_special": True, "parse_special": True}).encode()
    request = urllib.request.Request(f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"})
    plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it listens on this machine
    with plain.open(request, timeout=60) as reply:
        return [int(token) for token in json.load(reply)["tokens"]]


def vector(server: Any, text: str) -> list[float]:
    """The embedding of a text."""
    said = answered(server.handle_embeddings({"input": [text], "model": "it"}))
    return [float(value) for value in said["data"][0]["embedding"]]


def following(server: Any, ids: list[int], likeliest: int, letter: int) -> list[tuple[int, float]]:
    """
    (id, log-probability) of the likeliest tokens after some others.

    The engine is made to say `letter`: of an end of the text, or half a character, it gives no probabilities. What it
    gives is from before that.
    """
    question = {"prompt": ids, "n_predict": 1, "n_probs": likeliest, "temperature": 0.0, "cache_prompt": False}
    question["logit_bias"] = [[letter, 1000.0]]
    said = answered(server.handle_completions(question))
    (token,) = said["choices"][0]["logprobs"]["content"]
    return [(int(one["id"]), float(one["logprob"])) for one in token["top_logprobs"]]


def answered(said: dict[str, Any]) -> dict[str, Any]:
    """What the engine said, unless it is that it cannot."""
    if "error" in said:
        raise RuntimeError(said["error"].get("message", said["error"]))
    return said


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
