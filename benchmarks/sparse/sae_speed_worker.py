"""
One arm of the speed benchmark of sparse autoencoders, in a process of its own: a training step for each line it reads.

It needs torch and the arm's own library alone, so that a peer may live in another environment. For each line on
standard input it takes one step and answers with processor seconds, and the growth of its peak memory in bytes since
before the first step.
"""

import resource
import sys
import time
from collections.abc import Callable

import torch

ROWS, WIDTH, LATENTS, ACTIVE = 2048, 384, 16384, 32
PREFIXES = (1024, 2048, 4096, 8192, 16384)
PRODUCT, OURS, SAELENS, DICTIONARY = "product", "anysize", "sae_lens", "dictionary_learning"


def product() -> Callable[[torch.Tensor], None]:
    """The encoder's forward product alone."""
    weights = torch.randn(LATENTS, WIDTH).T
    out = torch.empty(ROWS, LATENTS)

    def step(x: torch.Tensor) -> None:
        torch.mm(x, weights, out=out)

    return step


def anysize() -> Callable[[torch.Tensor], None]:
    """The whole step of `anysize.sparse`: losses of all prefixes, gradients, projection, clipping, Adam, renorm."""
    from anysize.core.sizes.nesting import Nesting
    from anysize.sparse.learning.learner import Learner
    from anysize.sparse.learning.loop import one_step
    from anysize.sparse.learning.recipe import Recipe
    from anysize.sparse.rows.stored import SparseBatch

    recipe = Recipe(Nesting(latents=PREFIXES), "batchtopk", LATENTS, ACTIVE, 2e-4)
    learner = Learner(recipe, torch.zeros(WIDTH), 1.0)
    done = iter(range(10**6))

    def step(x: torch.Tensor) -> None:
        one_step(learner, SparseBatch(x), next(done), 10**6)

    return step


def sae_lens() -> Callable[[torch.Tensor], None]:
    """SAELens: forward pass in training, backward, clipping and Adam, as its trainer does."""
    from sae_lens.saes.matryoshka_batchtopk_sae import (
        MatryoshkaBatchTopKTrainingSAE,
        MatryoshkaBatchTopKTrainingSAEConfig,
    )
    from sae_lens.saes.sae import TrainStepInput

    config = MatryoshkaBatchTopKTrainingSAEConfig(
        d_in=WIDTH, d_sae=LATENTS, k=ACTIVE, matryoshka_widths=list(PREFIXES), dtype="float32", device="cpu"
    )
    sae = MatryoshkaBatchTopKTrainingSAE(config)
    optimizer = torch.optim.Adam(sae.parameters(), lr=2e-4)
    dead = torch.zeros(LATENTS, dtype=torch.bool)

    def step(x: torch.Tensor) -> None:
        given = TrainStepInput(
            sae_in=x, coefficients={}, dead_neuron_mask=dead, n_training_steps=1, is_logging_step=False
        )
        found = sae.training_forward_pass(step_input=given)
        optimizer.zero_grad()
        found.loss.backward()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        optimizer.step()

    return step


def dictionary_learning() -> Callable[[torch.Tensor], None]:
    """dictionary_learning: its Matryoshka BatchTopK trainer's own update."""
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer

    before, fractions = 0, []
    for prefix in PREFIXES:
        fractions.append((prefix - before) / LATENTS)
        before = prefix
    trainer = MatryoshkaBatchTopKTrainer(
        steps=10**6,
        activation_dim=WIDTH,
        dict_size=LATENTS,
        k=ACTIVE,
        layer=0,
        lm_name="none",
        group_fractions=fractions,
        lr=2e-4,
        device="cpu",
        seed=0,
    )
    done = iter(range(1, 10**6))  # step 0 also takes a geometric median
    return lambda x: trainer.update(next(done), x) and None


def peak() -> int:
    """The most memory that this process has held so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Answer each line with a step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    arms = {PRODUCT: product, OURS: anysize, SAELENS: sae_lens, DICTIONARY: dictionary_learning}
    step = arms[sys.argv[1]]()
    rows = [torch.randn(ROWS, WIDTH) for _ in range(4)]
    answers = sys.stdout
    sys.stdout = sys.stderr  # a peer may print
    before = peak()
    for number, _ in enumerate(sys.stdin):
        start = time.process_time()
        step(rows[number % len(rows)])
        print(time.process_time() - start, peak() - before, file=answers, flush=True)


if __name__ == "__main__":
    main()
