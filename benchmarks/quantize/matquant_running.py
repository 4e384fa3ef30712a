"""
A nested file of codes as it is used: bytes read and memory when loading, and time per encode of what is exported.

    python -m benchmarks.quantize.matquant_running --data DATA_DIR --scratch DIR      # about ten minutes of one core

all-MiniLM-L6-v2, feed-forward and attention layers (for loading also the table of words) as codes without training,
which changes neither bytes nor time.
DIR must lie on a real disk. Times are of the processor, one thread, medians over turns in which the arms take turns.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.model.checkpoint import WEIGHTS
from anysize.core.sizes.size import Size
from anysize.quantize import MatQuant, QuantizedEncoder
from anysize.quantize.export.onnx import SENTENCE, Graph, set_accuracy, write_onnx
from benchmarks.common import arguments
from benchmarks.evidence import write_row
from benchmarks.timing import ratio, taking_turns

PAPER = "Matryoshka Quantization, arXiv 2502.06786"
MODEL, BITS = "all-MiniLM-L6-v2", (8, 4, 2)
ALL = ("linear", "embedding")
COMMAND = "python -m benchmarks.quantize.matquant_running --data DATA_DIR --scratch DIR"

LOAD = """
import json, sys
import accelerate, sentence_transformers, torch, transformers
from anysize.quantize import QuantizedEncoder
def field(file, name):
    return int(next(line.split()[1] for line in open(file) if line.startswith(name)))
from transformers import AutoModel, BertConfig
AutoModel.from_config(BertConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=1, intermediate_size=8))
open("/proc/self/clear_refs", "w").write("5")
read, held = field("/proc/self/io", "read_bytes"), field("/proc/self/status", "VmRSS")
which = json.loads(sys.argv[2])
if which == "float":
    from anysize.text import NestedEncoder
    model = NestedEncoder.from_pretrained(sys.argv[1], layers=(6,))
else:
    model = QuantizedEncoder.from_pretrained(sys.argv[1], bits=which)
for tensor in model.state_dict().values():
    tensor.sum()  # a mapped file is read only when it is touched
peak = field("/proc/self/status", "VmHWM")
print(json.dumps({"read": field("/proc/self/io", "read_bytes") - read, "memory": 1024 * (peak - held)}))
"""


def method(**options: Any) -> MatQuant:
    """Codes without training, whole zero-points."""
    usual = {"modules": ("linear",), **options}
    return MatQuant(model=MODEL, base="minmax", symmetric=True, untrained=(), **usual)


def load(folder: Path, which: int | str) -> dict[str, int]:
    """Bytes from the disk and memory that loading takes, in a process of its own, with a cold page cache."""
    file = folder / (WEIGHTS if which != "float" else "model.safetensors")
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), json.dumps(which)], capture_output=True, text=True, check=True
    )
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def loading(data: Data, scratch: Path, repeats: int) -> None:
    """Row: a width reads and holds its own share; one nested file is smaller than three."""
    files = {"round_clamp": scratch / "nested", "floor_mid": scratch / "floor"}
    for mode, folder in files.items():
        method(modules=ALL, slice_mode=mode).fit(data).save(folder)
    alone = {bits: scratch / f"alone-{bits}" for bits in BITS}
    for bits, folder in alone.items():
        method(modules=ALL).single(Size(bits=bits)).fit(data).save(folder)
    inner: Any = QuantizedEncoder.load(files["round_clamp"]).inner
    inner.encoder.sentence_transformer(6, [384]).save(str(scratch / "float"), create_model_card=False)
    values: dict[str, dict[str, dict[str, list[float]]]] = {"bytes read": {}, "peak memory": {}}
    arms: dict[str, dict[int | str, Path]] = {
        "nested, round_clamp": dict.fromkeys(BITS, files["round_clamp"]),
        "nested, floor_mid": dict.fromkeys(BITS, files["floor_mid"]),
        "a file per width": {bits: alone[bits] for bits in BITS},
        "float32": {"float": scratch / "float"},
    }
    for arm, folders in arms.items():
        for which, folder in folders.items():
            runs = [load(folder, which) for _ in range(repeats)]
            for name, key in (("bytes read", "read"), ("peak memory", "memory")):
                size = f"bits={32 if which == 'float' else which}"
                values[name].setdefault(arm, {})[size] = [run[key] for run in runs]
    disk = {name: (folder / WEIGHTS).stat().st_size for name, folder in files.items()}
    three = sum((folder / WEIGHTS).stat().st_size for folder in alone.values())
    mean = {
        arm: {size: float(np.mean(runs)) for size, runs in found.items()} for arm, found in values["bytes read"].items()
    }
    nested = mean["nested, floor_mid"]
    fixed = _other_bytes(files["floor_mid"])
    share = (nested["bits=2"] - fixed) / (nested["bits=8"] - fixed)
    peaks = {size: float(np.mean(runs)) for size, runs in values["peak memory"]["nested, floor_mid"].items()}
    held = peaks["bits=2"] < 0.8 * peaks["bits=8"]
    won = disk["round_clamp"] < 0.75 * three and share < 0.35 and held
    write_row(
        "matquant-loading",
        paper=PAPER,
        claim="Loading at 2 bits reads a quarter of the 8-bit planes and takes less memory, and one nested file takes "
        "less room than a file per width",
        reported="not reported; the paper stores int8",
        arms=list(arms),
        metric="bytes from the disk, cold; peak resident memory above what the libraries hold",
        values={**values, "bytes on disk": {"one nested file": disk["round_clamp"], "three files": three}},
        outcome="won" if won else "mixed",
        note=f"One nested file takes {disk['round_clamp'] / 1e6:.1f} MB, three files {three / 1e6:.1f}. Loading with "
        f"floor_mid reads {nested['bits=2'] / 1e6:.1f} MB at 2 bits, {nested['bits=4'] / 1e6:.1f} at 4 and "
        f"{nested['bits=8'] / 1e6:.1f} at 8, of which {fixed / 1e6:.1f} are norms, small tables and scales that "
        f"all read; of the planes, 2 bits read {share:.2f}. Rounding (round_clamp) looks at one plane more: "
        f"{mean['nested, round_clamp']['bits=2'] / 1e6:.1f} MB at 2 bits. Peak memory {peaks['bits=2'] / 1e6:.0f}, "
        f"{peaks['bits=4'] / 1e6:.0f} and {peaks['bits=8'] / 1e6:.0f} MB.",
        command=COMMAND,
        data=f"{MODEL}, 36 linear layers and the table of words as codes; {repeats} load of each, in a fresh process",
    )
    print(json.dumps(values, indent=1))


def _other_bytes(folder: Path) -> int:
    entries = json.loads((folder / "anysize.json").read_text("utf-8"))["tensors"]
    return sum(block["bytes"] for name, one in entries.items() if ".plane_" not in name for block in one["blocks"])


def speed(data: Data, texts: list[str], scratch: Path, repeats: int) -> None:
    """Row: the exported graph against float32 ONNX, torch, and torch's own dynamic int8, batch 1 and batch 16."""
    import onnxruntime

    model = method().fit(data)
    plain = model.inner.encoder.sentence_transformer(6, [384]).eval()
    runs: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {}

    def session(folder: Path) -> Callable[[dict[str, torch.Tensor]], Any]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        found = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        return lambda inputs: found.run(None, {name: value.numpy() for name, value in inputs.items()})

    for bits in BITS:
        folder = scratch / f"onnx-{bits}-0"
        if not (folder / "model.onnx").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_onnx(model.at(bits=bits), folder, accuracy=0)
        runs[f"MatMulNBits {bits}, float32 sums"] = session(folder)
        runs[f"MatMulNBits {bits}, int8 sums"] = session(_with_int8_sums(folder, scratch / f"onnx-{bits}-4"))
    runs["ONNX float32"] = session(_float_onnx(plain, texts, scratch / "onnx-float"))
    runs["torch float32"] = lambda inputs: plain(dict(inputs))
    runs["torch dynamic int8"] = _dynamic(plain)
    values: dict[str, Any] = {}
    for count in (1, 16):
        chosen = texts[:count]
        inputs = {k: v for k, v in plain.preprocess(chosen).items() if isinstance(v, torch.Tensor)}
        with torch.inference_mode():
            found = taking_turns({name: partial(run, inputs) for name, run in runs.items()}, repeats)
        values[f"batch of {count}"] = {
            name: {
                "ms": float(np.median(times)),
                "of ONNX float32": ratio(found, name, "ONNX float32"),
                "of torch dynamic int8": ratio(found, name, "torch dynamic int8"),
            }
            for name, times in found.items()
        }
    values["bytes"] = {
        **{f"MatMulNBits {bits}": (scratch / f"onnx-{bits}-0" / "model.onnx").stat().st_size for bits in BITS},
        "ONNX float32": (scratch / "onnx-float" / "model.onnx").stat().st_size,
    }
    one, many = values["batch of 1"], values["batch of 16"]
    fast = {bits: one[f"MatMulNBits {bits}, int8 sums"]["of ONNX float32"] for bits in BITS}
    batch = {bits: many[f"MatMulNBits {bits}, int8 sums"]["of ONNX float32"] for bits in BITS}
    rival = {one["torch dynamic int8"]["of ONNX float32"], 1.0}, {many["torch dynamic int8"]["of ONNX float32"], 1.0}
    won = [ours[bits] < min(theirs) for ours, theirs in zip((fast, batch), rival, strict=True) for bits in BITS]
    tell = ", ".join
    write_row(
        "matquant-onnx-speed",
        paper=PAPER,
        claim="Exported at 8, 4 and 2 bits with int8 sums, a sentence encoder is faster than in float32 there and "
        "than torch's dynamic int8, one text or 16 at once",
        reported="not reported",
        arms=list(runs),
        metric="processor time, one thread, of ONNX float32 (and of torch's dynamic int8), median over turns",
        values=values,
        outcome="won" if all(won) else "mixed" if any(won) else "lost",
        note=f"With int8 sums one text takes {tell(f'{fast[b]:.2f} at {b} bits' for b in BITS)} of float32's time, "
        f"16 texts {tell(f'{batch[b]:.2f} at {b}' for b in BITS)}; with float32 sums one text "
        + tell(f"{one[f'MatMulNBits {b}, float32 sums']['of ONNX float32']:.2f} at {b}" for b in BITS)
        + f". torch's dynamic int8 takes {one['torch dynamic int8']['of ONNX float32']:.2f} for one text and "
        f"{many['torch dynamic int8']['of ONNX float32']:.2f} for 16, plain torch "
        f"{one['torch float32']['of ONNX float32']:.2f} and {many['torch float32']['of ONNX float32']:.2f}. Files: "
        + tell(f"{values['bytes'][f'MatMulNBits {b}'] / 1e6:.1f} MB at {b} bits" for b in BITS)
        + f", {values['bytes']['ONNX float32'] / 1e6:.1f} in float32 (tables are float32 in all).",
        command=COMMAND,
        data=f"{MODEL}, 36 linear layers as codes; sentences of STS-B; {repeats} turns",
    )
    print(json.dumps(values, indent=1))


def _with_int8_sums(folder: Path, other: Path) -> Path:
    other.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "model.onnx", other / "model.onnx")
    set_accuracy(other / "model.onnx", 4)
    return other


def _float_onnx(plain: Any, texts: list[str], folder: Path) -> Path:
    if (folder / "model.onnx").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {k: v for k, v in plain.preprocess(texts[:4]).items() if isinstance(v, torch.Tensor)}
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    program = torch.onnx.export(
        Graph(plain, list(inputs), SENTENCE).eval(),
        tuple(inputs.values()),
        input_names=list(inputs),
        output_names=[SENTENCE],
        dynamic_shapes=(tuple({0: rows, 1: tokens} for _ in inputs),),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(str(folder / "model.onnx"), external_data=False)
    return folder


def _dynamic(plain: Any) -> Callable[[dict[str, torch.Tensor]], Any]:
    """torch.ao's dynamic int8 of the linear layers."""
    import copy
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = torch.ao.quantization.quantize_dynamic(copy.deepcopy(plain), {torch.nn.Linear}, dtype=torch.qint8)
    return lambda inputs: small(dict(inputs))


def main() -> None:
    """Measure and write both rows."""
    parser = arguments(__doc__, "data", "scratch", repeats=15)
    parser.add_argument("--only", choices=("loading", "speed"))
    args = parser.parse_args()
    args.scratch.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    data = read(args.data / "stsb/dev.tsv")
    if args.only != "speed":
        loading(data, args.scratch, 1)
    if args.only != "loading":
        speed(data, data.texts[:64], args.scratch, args.repeats)


if __name__ == "__main__":
    main()
