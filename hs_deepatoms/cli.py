"""The command line: ``hs-deepatoms``."""

from __future__ import annotations

import click


@click.group()
def main() -> None:
    """Find atoms in electron microscopy images."""
