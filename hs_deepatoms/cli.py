"""The command line: ``hs-deepatoms find-atoms FILE... --out DIR``, ``rings``, ``export`` and ``demo``.

Thin: files in, `hs_deepatoms.find_atoms`, files out. Results go to stdout; errors and warnings, one line each, and
progress to stderr.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hs_deepatoms._core.version import __version__
from hs_deepatoms.cli_words import ELEMENTS, NUMBER_OR_TEXT, SPECIES, as_options, summary

if TYPE_CHECKING:
    import xarray as xr
    from hyperspy.signal import BaseSignal

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True}
LAZY_ABOVE_BYTES = 500e6
"""Larger files are opened lazily; below it, dask costs more than it saves."""


class CommandError(click.ClickException):
    """One line on stderr, exit code 1."""

    def __init__(self, message: object):
        super().__init__(" ".join(str(message).split()))

    def show(self, file: Any = None) -> None:
        click.echo(f"hs-deepatoms: error: {self.message}", file=file or sys.stderr)


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="hs-deepatoms")
def main() -> None:
    """Find atoms in electron microscopy images."""


def _shared_options(command):
    """Options of every command that finds atoms: the arguments of `find_atoms` that make sense in a shell."""
    options = [
        click.option("--method", type=click.Choice(["network", "log", "max"]), default="network"),
        click.option("--model", type=str, default=None, help="A model file. Default: one that ships with us."),
        click.option("--contrast", type=click.Choice(["auto", "bright", "dark"]), default="auto", help="dark for ABF."),
        click.option(
            "--threshold", type=NUMBER_OR_TEXT, default="auto", help="Lowest probability (log, max: signal to noise)."
        ),
        click.option(
            "--spacing", type=NUMBER_OR_TEXT, default=None, help='Column spacing: 12 (px), 0.39 (axis units), "3.9 Å".'
        ),
        click.option(
            "--region",
            type=float,
            nargs=4,
            default=None,
            metavar="LEFT TOP RIGHT BOTTOM",
            help="Only what lies inside, in axis units.",
        ),
        click.option(
            "--refine", type=click.Choice(["quick", "full", "none"]), default="quick", help="Fit the columns."
        ),
        click.option(
            "--elliptical/--round",
            default=None,
            callback=lambda context, option, value: "auto" if value is None else value,
            help="Fit the columns as ellipses of any orientation, or as round ones; by default as they look.",
        ),
        click.option("--species", type=SPECIES, default=None, help='Tell species apart: auto, 2, or "Sr,Ti".'),
        click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps."),
        click.option("--batch-size", type=click.IntRange(min=1), default=None),
        click.option("--num-workers", type=click.IntRange(min=1), default=None),
        click.option("--quiet", "-q", is_flag=True, help="No progress bar."),
        click.option("--debug", is_flag=True, help="Full traceback on an error."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command("find-atoms", context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--out", "out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where results go.")
@click.option("--reader", default=None, help="HyperSpy's reader, where the file's ending fits several.")
@click.option("--lazy/--eager", default=None, help="Read block by block. Default: for files above 500 MB.")
@_shared_options
def find_atoms_command(
    files: tuple[Path, ...],
    out: Path,
    reader: str | None,
    lazy: bool | None,
    quiet: bool,
    debug: bool,
    **settings: Any,
) -> None:
    """Find the atoms in every FILE that HyperSpy reads, stacks too.

    For every image, NAME_atoms.zarr and NAME_atoms.csv (the table of positions) and NAME_atoms.png (the positions
    drawn on the image) are written to DIR; existing files of that name are replaced.
    """
    names = _result_names(files)
    failed = 0
    for number, (file, name) in enumerate(zip(files, names, strict=True), start=1):
        if not quiet and len(files) > 1:
            click.echo(f"[{number}/{len(files)}] {file}", err=True)
        try:
            with _one_line_errors(file, debug):
                _process_file(file, name, out, reader=reader, lazy=lazy, quiet=quiet, settings=settings)
        except CommandError as error:
            error.show()
            failed += 1
    if failed:
        sys.exit(1)


@main.command("demo", context_settings=CONTEXT)
@click.option("--out", type=click.Path(path_type=Path), default=Path("hs-deepatoms-demo"), metavar="DIR")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Another seed is another sample.")
@_shared_options
def demo_command(out: Path, seed: int, quiet: bool, debug: bool, **settings: Any) -> None:
    """Find the atoms in a sample that ships with the package, and compare them with the true positions."""
    with _one_line_errors("demo", debug):
        signal, info = _demo_signal(seed)
        _make_folder(out)
        signal.save(out / "demo_image.hspy", overwrite=True)
        table = _process_signal(signal, "demo", out, label="demo sample", quiet=quiet, settings=settings)
        click.echo(f"  {_score(table, info)}")
        click.echo(f"The picture to look at: {(out / 'demo_atoms.png').resolve()}")


@main.command("rings", context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="TABLE_OR_IMAGE...")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where results go.")
@click.option("--elements", type=ELEMENTS, default=None, help="Bonds from covalent radii: C, or 0=C,1=Si.")
@click.option("--factor", type=click.FloatRange(min=0, min_open=True), default=None, help="Of the radii's sum.")
@click.option("--cutoff", type=NUMBER_OR_TEXT, default=None, help='Longest bond: 18 (px), 0.18 (axis units), "1.8 Å".')
@click.option("--largest", type=click.IntRange(min=3), default=12, help="Atoms of the largest ring.")
@click.option("--overlap", type=NUMBER_OR_TEXT, default=None, help='Of two nearer atoms the better one stays: "1 Å".')
@click.option("--keep-doubtful", is_flag=True, help="Faint atoms on bonds stay.")
@click.option("--debug", is_flag=True, help="Full traceback on an error.")
def rings_command(files: tuple[Path, ...], out: Path, debug: bool, **settings: Any) -> None:
    """Rings and defects of a planar network, from tables (.zarr, .nc, .csv) or images.

    For every file, NAME_rings.zarr (everything), NAME_rings.csv (a line per ring) and NAME_rings.png (the first frame)
    are written to DIR; existing files of that name are replaced.
    """
    _each(files, debug, lambda file, name: _write_rings(file, name, out, **settings))


@main.command("export", context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="TABLE_OR_IMAGE...")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where results go.")
@click.option(
    "--format", "kinds", multiple=True, default=("extxyz",), help="ASE's name: extxyz, vasp, cif, lammps-data."
)
@click.option("--elements", type=ELEMENTS, default=None, help="C, or 0=C,1=Si. Default: the names of the species.")
@click.option("--vacuum", type=NUMBER_OR_TEXT, default=5.0, help='Above and below: Å, or "1 nm".')
@click.option("--frame", type=click.IntRange(min=0), default=0, help="Flattened frame of a stack.")
@click.option("--periodic", is_flag=True, help="The cell repeats.")
@click.option("--debug", is_flag=True, help="Full traceback on an error.")
def export_command(files: tuple[Path, ...], out: Path, debug: bool, **settings: Any) -> None:
    """Write atoms for simulation codes, from tables (.zarr, .nc, .csv) or images."""
    _each(files, debug, lambda file, name: _write_structure(file, name, out, **settings))


def _each(files: Sequence[Path], debug: bool, work: Any) -> None:
    """One file after the other; one that fails does not stop the rest."""
    failed = 0
    for file, name in zip(files, _result_names(files), strict=True):
        try:
            with _one_line_errors(file, debug):
                work(file, name)
        except CommandError as error:
            error.show()
            failed += 1
    if failed:
        sys.exit(1)


def _atoms_of(file: Path) -> tuple[xr.Dataset, BaseSignal | None]:
    """A table as it is, or the atoms of an image."""
    import hs_deepatoms

    if file.suffix.lower() in (".zarr", ".nc", ".csv"):
        return hs_deepatoms.load(file), None
    images, _ = _image_signals(_load(file, reader=None, lazy=None), file)
    return hs_deepatoms.find_atoms(images[0][1], show_progressbar=False), images[0][1]


def _write_rings(file: Path, name: str, out: Path, *, overlap: int | float | str | None, **settings: Any) -> None:
    atoms, image = _atoms_of(file)
    atoms = atoms if overlap is None else atoms.deepatoms.remove_overlaps(overlap)
    rings = atoms.deepatoms.rings(**settings)
    _make_folder(out)
    target = out / f"{name}_rings"
    rings.drop_encoding().to_zarr(f"{target}.zarr", mode="w", consolidated=False)
    rings[["size", "area", "frame", "cluster_of_ring"]].to_dataframe().to_csv(f"{target}.csv")
    _ring_picture(atoms, image, rings, Path(f"{target}.png"))
    counts = rings["ring_count"].sum([dim for dim in rings["ring_count"].dims if dim != "ring_size"])
    text = ", ".join(f"{int(n)} of {int(size)}" for size, n in zip(counts["ring_size"], counts, strict=True) if n)
    kinds = rings["cluster_kind"].attrs["flag_meanings"].split()
    defects = [kinds[int(kind)].replace("_", " ") for kind in rings["cluster_kind"].values]
    found = ", ".join(f"{defects.count(kind)} x {kind}" for kind in dict.fromkeys(defects)) or "none"
    click.echo(f"{file}: {atoms.sizes['atom']} atoms; rings: {text or 'none'}; defects: {found}")
    click.echo(f"  {target}.zarr, .csv, .png")


def _ring_picture(atoms: xr.Dataset, image: Any, rings: xr.Dataset, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8), dpi=150, layout="constrained")
    atoms.deepatoms.plot_rings(image, rings=rings, ax=figure.add_subplot())
    FigureCanvasAgg(figure).print_figure(path, format="png")


def _write_structure(
    file: Path, name: str, out: Path, *, kinds: Sequence[str], elements: Any, vacuum: Any, frame: int, periodic: bool
) -> None:
    atoms, _ = _atoms_of(file)
    _make_folder(out)
    endings = {"vasp": "POSCAR", "extxyz": "xyz", "lammps-data": "lmp"}
    for kind in kinds:
        ending = endings.get(kind, kind)
        path = atoms.deepatoms.export(
            out / f"{name}.{ending}", format=kind, frames=frame, species=elements, vacuum=vacuum, pbc=periodic
        )
        click.echo(f"{file}: {path}")


@contextlib.contextmanager
def _one_line_warnings(subject: object, debug: bool) -> Iterator[None]:
    """Warnings without the line of code they come from, each text once."""
    said = set()

    def show(message: Warning | str, category: type[Warning], *args: Any, **options: Any) -> None:
        text = as_options(" ".join(str(message).split()))
        if text not in said:
            said.add(text)
            click.echo(f"hs-deepatoms: warning: {subject}: {text}", err=True)

    with warnings.catch_warnings():
        if not debug:
            warnings.showwarning = show
        yield


@contextlib.contextmanager
def _one_line_errors(subject: object, debug: bool) -> Iterator[None]:
    """What goes wrong, and what is warned of, as one line each on stderr."""
    try:
        with _one_line_warnings(subject, debug):
            yield
    except CommandError as error:
        if debug and error.__cause__ is not None:
            raise error.__cause__ from None
        raise
    except Exception as error:
        if debug:
            raise
        from hs_deepatoms.errors import DeepAtomsError

        # An error that is not one of ours was not foreseen: its type helps whoever is asked about it.
        text = as_options(str(error)) if isinstance(error, DeepAtomsError) else f"{type(error).__name__}: {error}"
        raise CommandError(f"{subject}: {text}") from error


def _process_file(
    file: Path, name: str, out: Path, *, reader: str | None, lazy: bool | None, quiet: bool, settings: dict[str, Any]
) -> None:
    images, skipped = _image_signals(_load(file, reader=reader, lazy=lazy), file)
    with _folder(out):
        for reason in skipped:
            click.echo(f"{file}: skipped {reason}")
        for number, signal in images:
            suffix = f"_{number}" if len(images) + len(skipped) > 1 else ""
            label = f"{file}" + (f", signal {number} {_title(signal)}" if suffix else "")
            _process_signal(signal, name + suffix, out, label=label, quiet=quiet, settings=settings)


def _process_signal(
    signal: BaseSignal, name: str, out: Path, *, label: str, quiet: bool, settings: dict[str, Any]
) -> xr.Dataset:
    import hs_deepatoms
    from hs_deepatoms.plot.overlay import save_overlay

    if settings.get("region"):
        import hyperspy.api as hs

        left, top, right, bottom = settings["region"]
        settings = {**settings, "region": hs.roi.RectangularROI(left=left, top=top, right=right, bottom=bottom)}
    table = hs_deepatoms.find_atoms(signal, show_progressbar=not quiet and sys.stderr.isatty(), **settings)
    target = out / f"{name}_atoms"
    for ending in (".zarr", ".csv"):
        table.deepatoms.save(target.with_name(target.name + ending))
    save_overlay(table, signal, target.with_name(target.name + ".png"))
    click.echo(f"{label}: {_describe(signal)}")
    click.echo(f"  {summary(table)}")
    click.echo(f"  {target}.zarr, .csv, .png")
    return table


def _load(file: Path, *, reader: str | None, lazy: bool | None) -> list[BaseSignal]:
    import hyperspy.api as hs

    if not file.exists():
        raise CommandError(f"{file}: no such file")
    if lazy is None:
        lazy = file.is_file() and file.stat().st_size > LAZY_ABOVE_BYTES
    arguments: dict[str, Any] = {"lazy": lazy, "escape_square_brackets": True}
    if reader is None and file.suffix.lower() == ".hdf5":
        reader = "HSPY"  # HyperSpy's own older files; by its ending alone several readers fit
    if reader is not None:
        arguments["file_format"] = reader
    if file.suffix.lower() == ".emd":
        arguments["select_type"] = "images"  # a Velox file's spectrum stream can take minutes and much memory
    with _quiet_hyperspy():
        try:
            loaded = hs.load(str(file), **arguments)
        except Exception as error:  # whatever its readers stumble over
            raise CommandError(f"{file}: {_unread(file, error)}") from error
    loaded = list(loaded) if isinstance(loaded, list | tuple) else [loaded]
    return [_grey(signal) for signal in loaded]


def _unread(file: Path, error: Exception) -> str:
    """Why HyperSpy cannot read a file, in words."""
    if isinstance(error, OSError) and "find a backend" in str(error):
        kind = f"{file.suffix} files" if file.suffix else "files without an ending"
        return f"HyperSpy has no reader for {kind} like this one"
    if isinstance(error, ValueError) and file.is_dir():
        return "a folder, not a file"
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    reason = str(error).replace("the `reader` keyword", "--reader")
    return f"HyperSpy cannot read it, it may be damaged or of another kind ({kind}{reason})"


@contextlib.contextmanager
def _quiet_hyperspy() -> Iterator[None]:
    """HyperSpy logs a paragraph on a file it cannot read, where the one-line error says it already."""
    logger = logging.getLogger("hyperspy")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _image_signals(signals: Sequence[BaseSignal], file: Path) -> tuple[list[tuple[int, BaseSignal]], list[str]]:
    """The signals that `find_atoms` takes, each with its place in the file, and why the others were skipped.

    A file of one signal is passed on as it is: the error then says what is wrong with it.
    """
    from hs_deepatoms.bridge.checks import check_image_source
    from hs_deepatoms.bridge.source import read_source
    from hs_deepatoms.errors import DeepAtomsError

    if not signals:
        raise CommandError(f"{file}: the file holds no signal")
    if len(signals) == 1:
        return [(0, signals[0])], []
    images, skipped = [], []
    for number, signal in enumerate(signals):
        try:
            check_image_source(read_source(signal, operation="find_atoms"), "find_atoms")
        except DeepAtomsError as error:
            skipped.append(f"signal {number} {_title(signal)}: {str(error).splitlines()[0]}")
        else:
            images.append((number, signal))
    if not images:
        raise CommandError(f"{file}: none of its {len(signals)} signals is an image: {'; '.join(skipped)}")
    return images, skipped


def _grey(signal: BaseSignal) -> BaseSignal:
    """A grey picture that was stored in colour is read as what it is; one with real colours is left to the error."""
    fields = signal.data.dtype.names
    if fields is None or not {"R", "G", "B"} <= set(fields):
        return signal
    red = signal.data["R"]
    if not all(bool((red == signal.data[name]).all()) for name in ("G", "B")):
        return signal
    return signal._deepcopy_with_new_data(red.copy())


def _result_names(files: Sequence[Path]) -> list[str]:
    """One name per file for its results; files that share a stem are numbered."""
    taken: set[str] = set()
    names = []
    for file in files:
        name, number = file.stem, 2
        while name in taken:
            name, number = f"{file.stem}-{number}", number + 1
        taken.add(name)
        names.append(name)
    return names


@contextlib.contextmanager
def _folder(out: Path) -> Iterator[None]:
    """The folder of results, which goes again if it is new and nothing came into it."""
    there = out.exists()
    _make_folder(out)
    try:
        yield
    except BaseException:
        if not there:
            with contextlib.suppress(OSError):
                out.rmdir()
        raise


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--out {out}: {error.strerror or error}") from error


def _title(signal: BaseSignal) -> str:
    title = re.sub(r"\s+", " ", signal.metadata.get_item("General.title", "") or "").strip()
    return f"({title or type(signal).__name__})"


def _describe(signal: BaseSignal) -> str:
    from hs_deepatoms.bridge.axes import UNCALIBRATED, UNKNOWN_UNITS, axis_of_signal

    x, y = signal.axes_manager.signal_axes
    frames = signal.axes_manager.navigation_size
    size = f"{y.size} x {x.size} px" + (f", {frames} frames" if frames else "")
    axis = axis_of_signal(y, name="y")
    if axis.scale is not None and axis.units not in UNCALIBRATED:
        size += f", {axis.step:.4g} {axis.units}/px"
    return f"{size}, scale {axis.step:.4g} without units" if axis.units == UNKNOWN_UNITS else size


def _demo_signal(seed: int) -> tuple[BaseSignal, dict[str, Any]]:
    import hyperspy.api as hs

    from hs_deepatoms.simulate.demo import demo_image

    image, info = demo_image(seed=seed)
    signal = hs.signals.Signal2D(image)
    for axis, name in zip(signal.axes_manager.signal_axes, ("x", "y"), strict=True):
        axis.name, axis.units, axis.scale = name, "nm", info["pixel_size_nm"]
    signal.metadata.General.title = f"Simulated sample of hs_deepatoms (seed {seed})"
    return signal, info


def _score(table: xr.Dataset, info: dict[str, Any]) -> str:
    """How the found atoms compare with the truth: matched one to one, nearest pairs first."""
    import numpy as np
    from scipy.spatial import cKDTree

    truth = np.stack([info["y_px"], info["x_px"]], axis=1)
    empty = np.stack([info["vacancy_y_px"], info["vacancy_x_px"]], axis=1)
    found = np.stack([table["y_px"].values, table["x_px"].values], axis=1)
    reach = np.median(cKDTree(truth).query(truth, k=2)[0][:, 1]) / 4
    distance, partner = cKDTree(truth).query(found, distance_upper_bound=reach)
    order = np.argsort(distance)
    order = order[np.isfinite(distance[order])]
    _, first = np.unique(partner[order], return_index=True)
    matched = distance[order][first]
    filled = np.isfinite(cKDTree(found).query(empty, distance_upper_bound=reach)[0]).sum() if len(found) else 0
    rim = np.stack([info["rim_y_px"], info["rim_x_px"]], axis=1)  # half seen: neither asked for nor wrong
    free = np.setdiff1d(np.arange(len(found)), order[first])
    at_rim = int((cKDTree(rim).query(found[free])[0] <= reach).sum())
    false, plural = free.size - at_rim, "" if at_rim == 1 else "s"
    error = f" (median error {np.median(matched):.2f} px)" if matched.size else ""
    return (
        f"of {len(truth)} true atoms {matched.size} were found{error}, with {false} false ones"
        f"{f' and {at_rim} column{plural} cut by the rim of the image' if at_rim else ''}; "
        f"of {len(empty)} vacancies {len(empty) - filled} stayed empty"
    )


if __name__ == "__main__":
    main()
