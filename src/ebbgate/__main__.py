"""`python -m ebbgate`."""

from ebbgate.cli.main import run

run()
