"""What words on the command line mean: lengths, species, elements; and what is said of a table."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import xarray as xr


class NumberOrText(click.ParamType):
    """What a user typed, as the library reads it: 12 is pixels, 0.4 is axis units, "4 Å" carries its own unit."""

    name = "number|text"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | float | str:
        for kind in (int, float):
            with contextlib.suppress(TypeError, ValueError):
                return kind(value)
        return value


NUMBER_OR_TEXT = NumberOrText()


class Species(click.ParamType):
    """auto, a number of species, or their names with commas between, strongest first."""

    name = "auto|number|names"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str | list[str]:
        if not isinstance(value, str) or value == "auto":
            return value
        return int(value) if value.isdigit() else [name.strip() for name in value.split(",")]


SPECIES = Species()


class Elements(click.ParamType):
    """A chemical symbol for all atoms, or class=symbol with commas between."""

    name = "symbol|class=symbol,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> str | dict[int | str, str]:
        if not isinstance(value, str) or "=" not in value:
            return value
        pairs = [part.partition("=") for part in value.split(",")]
        if not all(name.strip() and symbol.strip() for name, _, symbol in pairs):
            self.fail(f"{value!r}: give it as 0=C,1=Si", param, ctx)
        return {int(k) if (k := name.strip()).isdigit() else k: symbol.strip() for name, _, symbol in pairs}


ELEMENTS = Elements()

# A number's last full stop is the sentence's.
ARGUMENT = re.compile(
    r"\b(spacing|elliptical|contrast|threshold|method|model|refine|device)="
    r"(?:'([^']*)'|\"([^\"]*)\"|(-?\d+(?:\.\d+)?|[A-Za-z]\w*)|(?=[\s.,;:)]|$))"
)


def as_options(text: str) -> str:
    """A message of the library with its arguments as they are typed: ``contrast='dark'`` is ``--contrast dark``."""

    def typed(found: re.Match) -> str:
        name, *words = found.groups()
        word = next((word for word in words if word), "")
        return f"--{name} {word if word != 'True' else ''}".rstrip()

    return ARGUMENT.sub(typed, text)


def summary(table: xr.Dataset) -> str:
    """How many atoms, how probable, and which model found them."""
    from hs_deepatoms.tables.schema import read_json

    counts = table.deepatoms.count()
    text = f"{int(counts.sum())} atoms"
    if counts.size > 1:
        text += f" ({int(counts.min())} to {int(counts.max())} per frame)"
    if "probability" not in table or not table.sizes["atom"]:
        return text
    text += f", median probability {float(table['probability'].median()):.2f}"
    models = [entry["model"]["name"] for entry in read_json(table.attrs, "provenance", []) if entry.get("model")]
    return f"{text}, model {models[-1]}" if models else text
