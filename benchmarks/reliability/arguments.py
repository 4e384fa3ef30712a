"""Command lines of random words for every verb: done or refused in one sentence, and nothing half-written."""

from __future__ import annotations

import os
import random
import re
import shutil
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.reliability.artefacts import Scratch
from benchmarks.reliability.harness import Ended, Tally, command, forked

CLAIM = (
    "Any words after `anysize` are carried out or refused in one sentence, with exit 0 or 2 and nothing half-written"
)
GOAL = 5000
WORDS = {
    "data": "command lines of every verb: right ones with up to three words changed, and ones of random words",
    "note": "Changed: values of another type, missing, empty, negative, huge, NaN, not ASCII; options unknown, twice "
    "or without a value; paths that are missing, folders for files and files for folders, files of another kind.",
}
LIMIT = 20

_RIGHT = (
    "fit data/vectors.npy --dims 4,8 --epochs 1 --out out",
    "fit data/pairs.jsonl --model base --dims 4,8 --epochs 1 --out out",
    "fit data/pairs.jsonl --method 2dmse --model base --dims 8,16 --out out",
    "fit data/pairs.jsonl --method matquant --model base --bits 8,4 --batch-size 16 --out out",
    "fit data/vectors.npy --method topk --latents 32 --active 4 --steps 4 --batch-size 64 --out out",
    "fit data/vectors.npy --method csr --latents 32 --active 2,4 --steps 4 --batch-size 64 --out out",
    "fit data/labelled.jsonl --method mrl-classifier --model head --epochs 1 --out out",
    "fit none --method tasks --model base --dims 8,16 --steps 2 --task retrieval=data/pairs.jsonl --out out",
    "fit data/texts.jsonl --method mlm --model bert --epochs 1 --batch-size 16 --out out",
    "measure head data/pairs.jsonl --sizes 4,8 --arms truncate --within 1% --json f.json --html f.html",
    "measure sae data/vectors.npy --sizes 32:4 --by reconstruction",
    "choose head --within 1% --max-bytes 1KB --max-ms 5",
    "choose frontier.json --as-good-as truncate --metric ndcg@10",
    "cut head --size dims=8 --out out",
    "cut quantized --size bits=4 --format safetensors --out out",
    "cut sae --size latents=32 --format saelens --out out",
    "prune sae data/vectors.npy --latents 8,16 --by energy --active 4 --out out",
    "concepts sae data/words.txt --model base --min-similarity 0.4 --min-ratio 2 --show 3 --out names.json",
    "look sae data/vectors.npy --html page.html --rows 100 --latents 16",
    "index head data/texts.jsonl --size dims=8 --out out",
    "index - data/vectors.npy --dims 8,16 --metric dot --block 8 --hnsw --out out",
    "index csr data/vectors.npy --no-vectors --out out",
    "search index-texts balan -k 3",
    "search index-vectors --vector data/query.npy -k 3 --stages dims=4:50,dims=16",
    "search index-codes --vector data/query.npy --approximate hnsw",
    "info head",
    "info index-sparse",
    "info data/pairs.jsonl",
    "demo --help",
)  # fmt: skip
_VALUES = ("", "0", "-1", "1", "3", "8", "17", "99999999999999999999", "1e400", "nan", "inf", "-inf", "1.5", "5%",
           "200%",
           "dims=8", "dims=9", "dims=", "=8", "dims=8,dims=8", "latents=-1", "8,4", "4,,8", "4,4", "8:", ":",
           "dims=4:0",
           "dims=4:99999999999,dims=16", "bits=3", "True", "none", "None", "-", "--", "ä€𝄞", "\ud800", "a b", " ", "\n",
           "\x1b[31m", "%s", "{}", "../..", "/", ".", "~", "a" * 400, "*", "$HOME", "'", '"', "a=b=c")  # fmt: skip
_PATHS = ("nowhere", "nowhere/at/all", "data", "data/vectors.npy", "data/pairs.jsonl", "data/scored.jsonl", "data/beir",
          "data/empty.jsonl", "data/query.npy", "data/plain.csv", "data/words.txt", "base", "lm", "head", "layered",
          "quantized", "sae", "csr", "classifier", "tasks", "dictionary", "saelens", "index-texts", "index-sparse",
          "frontier.json", "cut-head", "/dev/null", "empty-folder")  # fmt: skip
_OPTIONS = ("--out", "--size", "--dims", "--sizes", "--model", "--method", "--task", "--arms", "--by", "--within",
            "--json",
            "--html", "--png", "--format", "--latents", "--active", "--epochs", "--batch-size", "--learning-rate",
            "--seed",
            "--metric", "--block", "--hnsw", "--no-codes", "--no-vectors", "-k", "--k", "--stages", "--vector",
            "--resume",
            "--approximate", "--max-bytes", "--max-ms", "--as-good-as", "--unknown", "-x", "--help", "--rows", "--show",
            "--concepts", "--texts", "--min-ratio", "--bits", "--keep", "--tune", "--scale", "--steps")  # fmt: skip
_VERBS = ("fit", "measure", "choose", "cut", "prune", "concepts", "look", "index", "search", "info",
          "nothing",
          "", "Fit", "--version", "--help")  # fmt: skip

WRONG = ("traceback", "crash", "hang", "unclear", "exit 1", "half-written")
APART: tuple[str, ...] = ("long",)
_PROGRESS = re.compile(r": [\d,]+ of [\d,]+ .*, about .* left")
"""What a verb says of long work: who asks for a million epochs gets them, and is told how long it will take."""


def run(scratch: Scratch, trials: int, rng: random.Random, tally: Tally) -> None:
    """`trials` lines, each in a fork that stands in a room with every artefact."""
    room = scratch / "arguments"
    before = None
    for _ in range(trials):
        words = _line(rng)
        if before is None:
            before = _room(scratch, room)
        ended = forked(partial(_in, room, words), limit=LIMIT)
        after = _stamps(room)
        outcome = "done" if ended.status == 0 else "refused" if ended.refused else ended.wrong or f"exit {ended.status}"
        if outcome == "hang" and _PROGRESS.search(f"{ended.err} {ended.last}"):
            outcome = "long"
        verb = words[0] if words[0] in _VERBS else "other"
        cause, example = _cause(words, ended), f"{_shown(words)} | {ended.last[:300]}"
        if ended.refused and after != before:
            changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            outcome, cause, example = "half-written", changed[0], f"{_shown(words)} | {changed[:5]}"
        tally.note(verb, outcome, cause, example)
        if after != before:
            before = None
    shutil.rmtree(room, ignore_errors=True)


def _cause(words: list[str], ended: Ended) -> str:
    return f"{words[0][:20]}: {ended.cause}" if ended.wrong == "hang" else ended.cause


def _shown(words: list[str]) -> str:
    return " ".join(repr(word)[:60] if not word.isascii() or " " in word or not word else word[:60] for word in words)


def _room(scratch: Scratch, room: Path) -> dict[str, str]:
    """A fresh room; what is in it, to be compared."""
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir()
    for path in scratch.root.iterdir():
        if path.name not in ("arguments", "kills", "corruption"):
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, room / path.name)
    (room / "data" / "empty.jsonl").write_text("")
    (room / "data" / "words.txt").write_text("balan\nbamer\nbanis\n")
    (room / "empty-folder").mkdir()
    return _stamps(room)


def _stamps(room: Path) -> dict[str, str]:
    """Every name with its size and time; an index's lock file and Python's caches are nothing of a verb's."""
    found = {}
    for path in room.rglob("*"):
        stat = path.lstat()
        found[str(path.relative_to(room))] = "folder" if path.is_dir() else f"{stat.st_size} {stat.st_mtime_ns}"
    return {name: stamp for name, stamp in found.items() if not name.endswith(".anysize-index.lock")}


def _in(room: Path, words: list[str]) -> None:
    os.chdir(room)
    tempfile.tempdir = "/tmp"
    command(*words)()


def _line(rng: random.Random) -> list[str]:
    if rng.random() < 0.1:
        return [rng.choice(_VERBS), *(_word(rng) for _ in range(rng.randint(0, 6)))]
    words = rng.choice(_RIGHT).split()
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place, did = rng.randrange(1, len(words) + 1), rng.random()
        if did < 0.6 and place < len(words) and not words[place].startswith("-"):
            words[place] = _near(words[place], rng)
        elif did < 0.7 and place < len(words) and len(words) > 2:
            del words[place]
        elif did < 0.77:
            words.insert(place, rng.choice(words))
        elif did < 0.85:
            words.insert(place, _word(rng))
        else:
            words += [rng.choice(_OPTIONS), _word(rng)]
    return words


def _near(word: str, rng: random.Random) -> str:
    """A word of the same kind that may be wrong, or any."""
    if not word or rng.random() < 0.25:
        return _word(rng)
    if word[0].isalpha() and "=" not in word:
        return rng.choice(_PATHS)
    numbers = [place for place, letter in enumerate(word) if letter.isdecimal()]
    if not numbers:
        return rng.choice(_VALUES)
    place = rng.choice(numbers)
    return (
        word[:place]
        + rng.choice(("0", "-1", "7", "1.5", "99999999999", "1e9", "nan", "", ",", "4,4", ":"))
        + word[place + 1 :]
    )


def _word(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(_VALUES)
    return rng.choice(_PATHS) if kind < 0.75 else rng.choice(_OPTIONS) + rng.choice(("", "", "=" + rng.choice(_VALUES)))
