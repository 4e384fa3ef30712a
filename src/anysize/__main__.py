"""``python -m anysize`` is ``anysize``: what torchrun starts, ``torchrun --nproc-per-node 2 -m anysize fit ...``."""

from anysize.cli.main import main

main()
