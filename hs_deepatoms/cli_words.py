"""What words on the command line mean: lengths, species, elements."""

from __future__ import annotations

import contextlib
from typing import Any

import click


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
