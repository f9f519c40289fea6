"""``elit``: adapt an ensemble to the images at hand, without labels, and watch that it does not fool itself."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms._core.numbers import check_count
from hs_deepatoms._core.seeds import generator
from hs_deepatoms.bridge.source import Source
from hs_deepatoms.methods import images
from hs_deepatoms.prepare.thinning import Halves, thinned
from hs_deepatoms.workflows.ensemble import Ensemble

if TYPE_CHECKING:
    import xarray as xr

    from hs_deepatoms.training.augmentation import Augmentation
    from hs_deepatoms.workflows.findings import Findings

STRANGERS = 3  # added atoms, from which their evidence counts
SUPPORTED = 2.0  # mean signal-to-noise ratio, in the held-out part, that added atoms must have


@dataclass
class Round:
    """One round: the ensemble after it, what it finds, and the figures for the report."""

    ensemble: Ensemble
    found: Findings
    figures: dict[str, float]


def elit(
    signal: Any,
    *,
    model: Any,
    rounds: int = 6,
    steps: int = 60,
    learning_rate: float = 1e-3,
    batch_size: int = 8,
    augmentation: str | Augmentation | None = "symmetries",
    confident: float = 0.8,
    share: float = 0.5,
    most_frames: int = 16,
    signal_dims: tuple[str, str] | None = None,
    device: str = "auto",
    seed: int = 0,
    show_progressbar: bool | None = None,
) -> tuple[Ensemble, xr.Dataset]:
    """Adapt an ensemble to images unlike those that it was trained on (ensemble learning, iterative training).

    The counts of every pixel are split in two parts with independent noise. In each round the ensemble looks at the
    first part; pixels about which all members are sure, and about which the image does not object, become labels, all
    others stay unlabelled; and every member is trained further on these. After each round atoms are fitted to the first
    part and used to predict the second one: as soon as its likelihood falls, or the atoms that came to be added are not
    to be seen in it (filled vacancies), the round is undone and that was it.

    Parameters
    ----------
    signal : hyperspy Signal2D, xarray.DataArray, numpy or dask array
        Images, shape (..., ny, nx), best raw counts: after a denoising or a blur no two parts are independent. No
        labels are needed.
    model : Ensemble, or path of one
        Trained. It stays as it is.
    rounds : int
        At most so many.
    steps, learning_rate, batch_size
        Of every round's training.
    augmentation : {"symmetries", "usual"}, Augmentation or None
        Of that training.
    confident : float
        Smallest mean probability of an atom that becomes a label; all members must see it, too.
    share : float
        Of the counts that are learned from, between 0 and 1.
    most_frames : int
        Frames that are used, spread over the stack; these are held in memory.
    signal_dims : tuple of str, optional
        Names of the two image dimensions of a DataArray.
    device, show_progressbar
        As in :meth:`Ensemble.fit`.
    seed : int
        Of the split, the batches and the augmentation.

    Returns
    -------
    adapted : Ensemble
        The best round's; a copy of the model if no round was better. It works at the pixel size of the signal.
    report : xarray.Dataset, dim ``round``
        ``held_out_gain``: logarithm of the held-out part's likelihood, compared with that before the first round;
        ``atoms``, ``added`` and ``removed`` (compared with the last round kept); ``evidence`` and ``added_evidence``:
        mean signal-to-noise ratio of all and of the added atoms in the held-out part; ``labelled``: share of the pixels
        the round was trained on; ``kept``. Attributes ``kept_round`` and ``stopped`` say where it ended and why.

    Raises
    ------
    InvalidArgumentError
        A model that is no trained ensemble, values outside what is allowed, images in which nothing is sure.
    InvalidImageError, InvalidAxesError, DeviceError
        As in :func:`~hs_deepatoms.find_atoms`.

    Notes
    -----
    The workflow is that of Ghosh et al., npj Comput. Mater. 7, 100 (2021), doi:10.1038/s41524-021-00569-7; the split is
    data thinning (Neufeld et al., J. Mach. Learn. Res. 25 (57), 1 (2024), arXiv:2301.07276).

    Examples
    --------
    >>> import numpy as np, hs_deepatoms
    >>> rng = np.random.default_rng(0)
    >>> yy, xx = np.mgrid[:64, :64]
    >>> expected = 1 + 30 * (np.cos(yy * 0.6) * np.cos(xx * 0.6)).clip(0) ** 2
    >>> ensemble = hs_deepatoms.Ensemble(members=2, net_options={"filters": 4, "depth": 1})
    >>> counts = rng.poisson(expected, (4, 64, 64))
    >>> ensemble = ensemble.fit(counts, np.repeat(expected[None] > 16, 4, 0).astype(int), steps=40, window=48,
    ...                         batch_size=4, learning_rate=1e-2, augmentation=None, show_progressbar=False)
    >>> adapted, report = hs_deepatoms.elit(counts, model=ensemble, rounds=1, steps=3, confident=0.5,
    ...                                     show_progressbar=False)
    >>> report.sizes["round"]
    2
    """
    from hs_deepatoms.workflows.findings import look

    model = _trained(model)
    _check(rounds, steps, batch_size, most_frames, confident, share)
    source = images.read_images(signal, signal_dims=signal_dims, operation="elit")
    frames = _frames(source, most_frames)
    halves = thinned(frames, generator(seed), share)
    kept = _wrapped(source, halves.kept)
    how = {"device": device, "show_progressbar": False}
    radius = _radius(model, source)
    first = _quiet(model)
    found = look(first, kept, halves, radius, how)
    done = [Round(first, found, _figures(found, found, found, halves, True))]
    training = {"steps": steps, "learning_rate": learning_rate, "batch_size": batch_size, "validation": None,
                "window": min(model.training["window"]), "augmentation": _augmentation(augmentation),
                "device": device, "show_progressbar": show_progressbar}  # fmt: skip
    best, why = done[0], f"all {rounds} rounds were done"
    for number in range(1, rounds + 1):
        labels = best.found.labels(halves, confident)
        if not (labels > 0).any():
            if number == 1:
                todo = "Lower confident=, or train on labels of such images."
                raise InvalidArgumentError(explain("images in which no atom is sure", "some that are", todo))
            why = "no atom was sure"
            break
        ensemble = _quiet(best.ensemble).fit(kept, labels, seed=seed + 100 * number, **training)
        ensemble.familiarity = None
        found = look(ensemble, kept, halves, radius, how)
        figures = _figures(found, best.found, done[0].found, halves, False)
        figures["labelled"] = float((labels >= 0).mean())
        done.append(Round(ensemble, found, figures))
        objection = _objection(figures, best.figures)
        if objection:
            why = objection
            break
        figures["kept"] = True
        best = done[-1]
    return _result(model, best, done, why, source, frames, confident, halves, training, seed, radius)


def _trained(model: Any) -> Ensemble:
    if isinstance(model, str | os.PathLike):
        from hs_deepatoms.methods.learned import load_model

        model = load_model(model)
    if not isinstance(model, Ensemble) or not model.training:
        got = f"model={type(model).__name__}" + (", untrained" if isinstance(model, Ensemble) else "")
        raise InvalidArgumentError(explain(got, "a trained hs_deepatoms.Ensemble, or the path of one", "fit() one."))
    return model


def _radius(model: Ensemble, source: Source) -> float | None:
    """Radius of an atom's disc in pixels of the signal; the model knows it in those of its training."""
    from hs_deepatoms.workflows.mapping import zoom_to

    radius = model.training.get("radius_px")
    return None if radius is None else float(radius) / zoom_to(model, source)


def _check(rounds, steps, batch_size, most_frames, confident, share) -> None:
    for name, value in (("rounds", rounds), ("steps", steps), ("batch_size", batch_size), ("most_frames", most_frames)):
        check_count(name, value)
    for name, value in (("confident", confident), ("share", share)):
        if not 0 < value < 1:
            raise InvalidArgumentError(explain(f"{name}={value!r}", "a share between 0 and 1", "Leave it out."))


def _augmentation(asked: str | Augmentation | None) -> str | Augmentation | None:
    from hs_deepatoms.training.augmentation import Augmentation

    return Augmentation() if isinstance(asked, str) and asked == "symmetries" else asked


def _frames(source: Source, most: int) -> np.ndarray:
    """Some frames, shape (n, h, w), in memory."""
    n = int(np.prod(source.data.shape[:-2], dtype=np.int64))
    chosen = np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))
    return np.stack([np.asarray(images.frame_of(source, int(k))) for k in chosen])


def _wrapped(source: Source, frames: np.ndarray) -> xr.DataArray:
    """Frames with the calibration of the signal."""
    import xarray as xr

    y, x = source.signal[-2:]
    coords = {axis.name: (axis.name, axis.coordinates(), {"units": axis.units}) for axis in (y, x)}
    return xr.DataArray(frames, coords, ["frame", y.name, x.name])


def _quiet(model: Ensemble) -> Ensemble:
    """A copy that does not say that images are unlike others: that is known here."""
    made = copy.deepcopy(model)
    made.familiarity = None
    return made


def _figures(found: Findings, before: Findings, first: Findings, halves: Halves, kept: bool) -> dict[str, float]:
    """What the report says of a round."""
    added, removed = found.added_to(before), before.added_to(found)
    evidence = found.evidence(halves)
    return {
        "held_out_gain": found.likelihood - first.likelihood,
        "atoms": found.n_atoms,
        "added": int(added.sum()),
        "removed": int(removed.sum()),
        "evidence": float(evidence.mean()) if len(evidence) else float("nan"),
        "added_evidence": float(evidence[added].mean()) if added.any() else float("nan"),
        "labelled": 0.0,
        "kept": kept,
    }


def _objection(figures: dict[str, float], before: dict[str, float]) -> str:
    """Why a round is undone; "" if it is not."""
    # the other way round: what is not known (NaN) does not speak for a round
    if not figures["held_out_gain"] >= before["held_out_gain"]:
        return "the likelihood of the held-out part fell"
    if figures["added"] >= STRANGERS and not figures["added_evidence"] >= SUPPORTED:
        return "the atoms that were added are not to be seen in the held-out part"
    return ""


def _result(
    model, best, done, why, source, frames, confident, halves, training, seed, radius
) -> tuple[Ensemble, xr.Dataset]:
    import xarray as xr

    kept_round = done.index(best)
    names = list(done[0].figures)
    report = xr.Dataset({name: ("round", [one.figures[name] for one in done]) for name in names},
                        {"round": np.arange(len(done))},
                        {"kept_round": kept_round, "stopped": why, "frames": len(frames), "share": halves.share,
                         "noise": "counts" if halves.noise is None else "Gaussian"})  # fmt: skip
    if not kept_round:
        return copy.deepcopy(model), report
    adapted = best.ensemble
    labels = best.found.labels(halves, confident)
    adapted.familiarity = adapted.familiar_with(_wrapped(source, frames), labels, training["augmentation"], seed)
    said = {"kept_round": kept_round, "stopped": why, "rounds": [one.figures for one in done]}
    adapted.training = {**adapted.training, "radius_px": radius, "elit": said}
    adapted.scores = {}
    return adapted, report
