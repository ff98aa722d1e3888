"""`python -m cion_core.cli`, which torchrun needs."""

from cion_core.cli import main

main()
