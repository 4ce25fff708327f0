"""``python -m neuralquine``."""

from .cli import main

main()
