"""Done by two processes: each rank takes half of a batch and writes the gradients that it ends up with."""

import os
import random
import time
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch.nn.parallel import DistributedDataParallel

from anysize.text import Matryoshka2dLoss, StarbucksLoss
from tests.text.losses.test_dims import WIDTH, columns


def main(folder: Path, out: Path) -> None:
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    mine = slice(4 * rank, 4 * rank + 4)
    features = [{name: value[mine] for name, value in column.items()} for column in columns(2, rows=8)]
    for kind, make in {
        "starbucks": lambda *of: StarbucksLoss(*of, [(1, 8), (3, 32)], gather_across_devices=True),
        "2dmse": lambda *of: Matryoshka2dLoss(*of, [32, 16, 8], gather_across_devices=True),
    }.items():
        model = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(WIDTH)], device="cpu").train()
        wrapped = DistributedDataParallel(model, find_unused_parameters=True)
        ranking = MultipleNegativesRankingLoss(model)
        ranking.model = wrapped
        loss = make(wrapped, ranking)
        random.seed(7 + rank)  # left alone, each process would draw another layer and width
        loss(features).backward()
        gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        torch.save(gradients, out / f"{kind}-{rank}.pt")
    torch.distributed.barrier()
    time.sleep(1)  # the other has left the barrier too
    os._exit(0)  # gloo's own way out waits for ever now and then, with all work done
