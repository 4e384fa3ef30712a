"""The hostile artefacts: each with the commands that it is set for."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

from benchmarks.reliability.arming import (
    Arm,
    auto_lm,
    auto_map,
    base_modules,
    bomb,
    data,
    dense,
    file_at,
    header,
    ids,
    linked,
    manifest,
    modules,
    pickled,
    pickled_npy,
    pickled_zip,
    segment_at,
    setting,
    special,
)

READ_MODEL = ("info @m", "measure @m %data/pairs.jsonl --arms truncate", "index @m %data/texts.jsonl --out @i",
              "cut @m --size dims=8 --out @c")  # fmt: skip
READ_INDEX = ("info @i", "search @i --vector %data/query.npy", "index - %data/vectors.npy --out @i")
READ_DATA = ("info @d", "fit @d --model %base --dims 8,16 --epochs 1 --out @m", "index %head @d --out @i")


@dataclass(frozen=True)
class Trap:
    """One hostile thing. In `commands`, @ is the folder where it stands and % the scratch folder."""

    name: str
    arm: Arm
    commands: tuple[str, ...]
    refused: str = ""
    """The verb that must refuse it: what it would answer is not from inside the folder, or means nothing."""


_LINE = b'{"text": "' + b"a " * 500 + b'"}\n'
_NPY = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 16), }"

TRAPS: tuple[Trap, ...] = (
    *(Trap(f"auto_map of {key}", auto_map("encoder", file, key), READ_MODEL) for file, key in (
        ("tokenizer_config.json", "AutoTokenizer"), ("config.json", "AutoModel"), ("config.json", "AutoConfig"))),
    Trap("auto_map of a language model's tokenizer", auto_lm,
         ("info @m", "measure @m %data/texts.jsonl", "cut @m --size bits=8 --out @c")),
    *(Trap(f"modules.json names {kind}", modules(kind), READ_MODEL) for kind in (
        "evil.Evil", "os.system", "subprocess.Popen", "anysize.cli.main.main", "encoder.evil.Evil")),
    Trap("a Dense layer that names a function", dense,
         ("info @b", "fit %data/pairs.jsonl --model @b --dims 4,8 --epochs 1 --out @m")),
    Trap("base that names a class", base_modules,
         ("info @b", "fit %data/pairs.jsonl --model @b --dims 8,16 --epochs 1 --out @m")),
    *(Trap(f"pickle for weights of {source}", pickled(source, part, names, instead), READ_MODEL)
      for source, part, names, instead in (
        ("head", "encoder", ("pytorch_model.bin",), "model.safetensors"),
        ("head", "", ("weights.bin", "pytorch_model.bin", "weights.pt"), "weights.safetensors"),
        ("head", "encoder/1_Pooling", ("pytorch_model.bin",), ""),
        ("tasks", "base", ("pytorch_model.bin",), "model.safetensors"),
        ("tasks", "adapters/retrieval.query", ("adapter_model.bin",), "adapter_model.safetensors"))),
    Trap("pickle as ae.pt", pickled("dictionary", "", ("ae.pt",), ""), ("info @m", "measure @m %data/vectors.npy")),
    Trap("zip with a pickle as ae.pt", pickled_zip, ("info @m", "measure @m %data/vectors.npy",
         "prune @m %data/vectors.npy --latents 8 --out @c")),
    Trap("pickle as .npy", pickled_npy, ("info @d.npy", "fit @d.npy --out @m", "index - @d.npy --out @i",
         "search %index-vectors --vector @d.npy")),
    Trap("segments is a link", linked("segments"), ("index - %data/vectors.npy --out @i", "info @i")),
    Trap("segments of an index is a link", linked("segments of an index"), READ_INDEX, "search"),
    Trap("a segment is a link", linked("a segment"), READ_INDEX),
    Trap("the lock is a link", linked("the lock"), READ_INDEX),
    Trap("a folder in a model is a link", linked("a folder in a model"), (*READ_MODEL,
         "fit %data/pairs.jsonl --model %base --dims 8,16 --epochs 1 --out @m")),
    Trap("the work is a link", linked("the work"), ("fit %data/vectors.npy --dims 8,16 --epochs 1 --out @m",)),
    *(Trap(f"--out is a link ({name})", linked(name), (line,)) for name, line in (
        ("m", "fit %data/vectors.npy --dims 8,16 --epochs 1 --out @m"), ("c", "cut %head --size dims=8 --out @c"),
        ("i", "index - %data/vectors.npy --out @i"), ("dangling", "cut %head --size dims=8 --out @dangling"),
        ("dangling", "fit %data/vectors.npy --dims 8,16 --epochs 1 --out @dangling"),
        ("dangling", "index - %data/vectors.npy --out @dangling"),
        ("c", "prune %sae %data/vectors.npy --latents 8 --out @c"))),
    *(Trap(f"manifest: {what}", manifest(change), READ_INDEX, "search") for what, change in (
        ("a segment above", segment_at(lambda name, _: f"../../../outside/segments/{name}")),
        ("a segment by absolute path", segment_at(lambda name, outside: f"{outside}/segments/{name}")),
        ("a file above", file_at), ("10^9 rows", setting(rows=10**9)), ("-1 rows", setting(rows=-1)),
        ("rows as text", setting(rows="5")),
        ("bounds", setting(bounds=[0, 10**12])), ("dims of 10^12", setting(nesting={"sizes": [{"dims": 10**12}]})),
        ("deleted above", setting(deleted="../../../outside/kept.txt", deleted_rows=1,
         deleted_file={"bytes": 4, "sha256": "0" * 64})),
        ("codes as text", setting(codes="abc")), ("metric", setting(metric="../x")),
        ("format", setting(format="x")))),
    Trap("gzip bomb as data", data("d.jsonl.gz", lambda: gzip.compress(_LINE * 400_000, 9)), tuple(
        line.replace("@d", "@d.jsonl.gz") for line in READ_DATA)),
    Trap("gzip bomb of one line", data("d.jsonl.gz", lambda: gzip.compress(bytes(2 << 30), 9)), ("info @d.jsonl.gz",)),
    Trap("zip bomb as ae.pt", bomb, ("info @m", "measure @m %data/vectors.npy")),
    Trap("npy of 10^12 rows", data("d.npy", lambda: _NPY.ljust(128) + b"\n" + bytes(64)),
         ("info @d.npy", "index - @d.npy --out @i")),
    Trap("deep jsonl", data("d.jsonl", lambda: b"[" * 200_000 + b"\n"),
         tuple(line.replace("@d", "@d.jsonl") for line in READ_DATA)),
    Trap("10,000 columns", data("d.csv", lambda:
         b",".join(b"c%d" % n for n in range(10_000)) + b"\n" + b"a," * 9_999 + b"a\n"),
         ("info @d.csv",)),
    Trap("one line of 100 MB", data("d.jsonl", lambda: b'{"text": "' + b"a" * (100 << 20) + b'"}\n'),
         ("info @d.jsonl",)),
    *(Trap(f"header of {length:.0e}", header(length),
         ("info @m", "measure @m %data/vectors.npy", "cut @m --size dims=8 --out @c"))
      for length in (10**12, 2**63, 2**64 - 1)),
    *(Trap(f"tensor {what}", header(None, entry), ("measure @m %data/vectors.npy",)) for what, entry in (
        ("of 10^12", {"data_offsets": [0, 10**12]}), ("of negative size", {"data_offsets": [8, 0]}),
        ("of shape 10^12", {"shape": [10**6, 10**6]}), ("of unknown type", {"dtype": "F9"}))),
    *(Trap(f"{kind} as data", special(f"d{suffix}", kind), (f"info @d{suffix}", f"index - @d{suffix} --out @i"))
      for kind in ("fifo", "/dev/zero", "/dev/stdin", "/proc/self/mem") for suffix in (".jsonl", ".npy")),
    Trap("fifo as a query", special("q.npy", "fifo"), ("search %index-vectors --vector @q.npy",)),
    Trap("fifo as a frontier", special("f.json", "fifo"), ("choose @f.json --within 1%", "info @f.json")),
    Trap("ids and texts that write on the terminal", ids, ("search @i --vector %data/query.npy",
         "index %head @d.jsonl --out @j", "info @d.jsonl")),
)  # fmt: skip
