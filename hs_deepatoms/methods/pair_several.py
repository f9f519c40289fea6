"""The tree of several spectra that one network predicts, and each of them as a tree of its own."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.warn import warn_user
from hs_deepatoms.methods.pair_request import PairRequest
from hs_deepatoms.methods.pair_scores import SpectrumReport
from hs_deepatoms.methods.pair_sources import Pair, name_of
from hs_deepatoms.methods.pair_stored import FORMAT_VERSION, KIND, SEVERAL
from hs_deepatoms.methods.pair_training import Learned
from hs_deepatoms.methods.pair_tree import ERROR, ORDER, common_nodes, latent_node, several_attrs, spectrum_nodes

if TYPE_CHECKING:
    import xarray as xr

OWN = ("metrics", "held_out", "traversal", "examples")  # nodes that every spectrum has


def build_several_tree(pairs: list[Pair], learned: list[Learned], asked: list[PairRequest]) -> xr.DataTree:
    """The tree that `im2spec` returns for a list of spectrum images."""
    import xarray as xr

    nodes, reports = {}, []
    for number, each in enumerate(zip(pairs, learned, asked, strict=True)):
        report, own = spectrum_nodes(*each)
        reports.append(report)
        nodes |= {f"/{name_of(number)}{'' if name == '/' else name}": node for name, node in own.items()}
    _say_unscored(asked, reports)
    attrs = {"kind": SEVERAL, "format_version": FORMAT_VERSION, "method": KIND, "image": pairs[0].image.title,
             **several_attrs(pairs, learned, asked, KIND)}  # fmt: skip
    front = {"/": xr.Dataset(attrs=attrs), "/latent": _latent(pairs, learned, reports), "/metrics": _summary(nodes),
             **common_nodes(pairs, learned, [pair.spectra for pair in pairs])}  # fmt: skip
    return xr.DataTree.from_dict({**front, **nodes}, name=SEVERAL)


def one_of(tree: xr.DataTree, which: int | str) -> xr.DataTree:
    """The tree of one of several spectra, as `im2spec` gives it for a single one; with the whole network.

    Parameters
    ----------
    tree : xarray.DataTree
        From `im2spec` with a list.
    which : int or str
        Place in the list, or title of the spectrum.

    Raises
    ------
    InvalidArgumentError
        If there is none, or several.
    """
    import xarray as xr

    number = _number(tree, which)
    name = name_of(number)
    nodes = {f"/{own}": tree[f"{name}/{own}"].to_dataset(inherit=False) for own in OWN if own in tree[name].children}
    nodes["/"] = xr.Dataset(attrs=tree[name].attrs)
    nodes["/latent"] = tree["latent"].to_dataset().isel(spectrum=number, drop=True)
    nodes["/history"], model = tree["history"].to_dataset(), tree["model"].to_dataset()
    kept = {key: value for key, value in model.attrs.items() if key != "spectra"}
    nodes["/model"] = model.drop_attrs().assign_attrs(kept | {"spectrum": number})
    return xr.DataTree.from_dict({key: nodes[key] for key in ORDER if key in nodes}, name=KIND)


def each_of(tree: xr.DataTree) -> list[xr.DataTree]:
    """Trees of all of its spectra, in their order."""
    return [one_of(tree, number) for number in range(tree["latent"].sizes["spectrum"])]


def _number(tree: xr.DataTree, which: int | str) -> int:
    titles = [str(one) for one in tree["metrics/title"].values]
    if isinstance(which, str) and titles.count(which) == 1:
        return titles.index(which)
    if isinstance(which, Integral) and not isinstance(which, bool) and 0 <= which < len(titles):
        return int(which)
    allowed = f"0 to {len(titles) - 1}, or a title that one of them alone has ({', '.join(map(repr, titles))})"
    raise InvalidArgumentError(explain(f"{which!r} as a spectrum", allowed, "Choose one of these."))


def _latent(pairs: list[Pair], learned: list[Learned], reports: list[SpectrumReport]) -> xr.Dataset:
    """Latents, which are the same for all spectra, and the error of each."""
    found = latent_node(pairs[0], learned[0], reports[0].error, ERROR)
    errors = np.stack([report.error for report in reports])
    names = np.array([name_of(number) for number in range(len(pairs))], object)
    return found.assign(error=(("spectrum", "y", "x"), errors, found["error"].attrs)).assign_coords(spectrum=names)


def _summary(nodes: dict[str, xr.Dataset]) -> xr.Dataset:
    """The scores of all spectra below each other, without what is along an energy axis."""
    import xarray as xr

    own = {name: nodes[f"/{name}/metrics"] for name in (key.strip("/") for key in nodes) if "/" not in name}
    kept = [one.drop_dims([dim for dim in ("energy", "edge") if dim in one.dims]) for one in own.values()]
    names = xr.DataArray(np.array(list(own), object), dims="spectrum", name="spectrum")
    table = xr.concat([one.drop_attrs(deep=False) for one in kept], names)
    units = {one["peak_error"].attrs["units"] for one in kept}
    if len(units) > 1:
        del table["peak_error"].attrs["units"]
        table["peak_error"].attrs["long_name"] += f" ({', '.join(one['peak_error'].attrs['units'] for one in kept)})"
    titles = np.array([nodes[f"/{name}"].attrs["spectra"] for name in own], object)
    verdicts = [f"{name}{f' ({title})' if title else ''}: {one.attrs['verdict']}"
                for (name, one), title in zip(own.items(), titles, strict=True)]  # fmt: skip
    won = int(all(one.attrs["beats_baselines"] for one in own.values()))
    return table.assign_coords(title=("spectrum", titles)).assign_attrs(
        beats_baselines=won, verdict="\n".join(verdicts)
    )


def _say_unscored(asked: list[PairRequest], reports: list[SpectrumReport]) -> None:
    """Warn of edges that are scored in none of the spectra of which it was asked."""
    wanted = {name for one in asked for name in one.edges or {}}
    missed = sorted(wanted - {name for report in reports for name in report.edges})
    if missed:
        warn_user(f"edges {', '.join(missed)} are not scored: no spectra reach far enough to both sides of them")
