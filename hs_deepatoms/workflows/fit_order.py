"""How far the detector may believe the crystal: weights of ``atoms/order.py``, ``atoms/alike.py`` and
``atoms/averaged.py``, fitted on simulated crystals.

    python -m hs_deepatoms.workflows.fit_order MODEL [--seed 1] [--scenes 240] [--lattices 480]

prints the weights for ``pack``, and those of ``averaged``. The detector's candidates are compared with the truth in
scenes like those it was trained on and in plain lattices with empty sites; a logistic regression tells columns from
what is none. Candidates on empty sites count ``EMPTY`` times: a crystal that hides its vacancies is worse than one with
a column missing. Then those on sites of a crystal are fitted, and a second regression learns what their heights say; a
third one, of the others, what stands on average where lattice vectors lead from them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.special import logit

from hs_deepatoms.atoms import alike, averaged, block, judge, order
from hs_deepatoms.atoms.decode import Points
from hs_deepatoms.atoms.detect import Detection, detect
from hs_deepatoms.atoms.faint import Faint
from hs_deepatoms.atoms.refine import FrameFit
from hs_deepatoms.engine.plan import Block
from hs_deepatoms.methods.column_job import detection_job
from hs_deepatoms.methods.images import read_images
from hs_deepatoms.methods.look import look_at
from hs_deepatoms.simulate.plain import simulate_lattice
from hs_deepatoms.simulate.scenes import simulate_scene

CANDIDATE, THRESHOLD = 0.01, 0.45
EMPTY, LATTICES = 7.0, 0.7  # weights of candidates on empty sites, and of the lattices
ROUNDS = 2  # fits, each on the evidence that the one before leaves
STRENGTHS = ((1.5, 20.0), (5.5, 13.0))  # of the weak columns of lattices
FITTED_STRENGTHS = ((1.5, 3.5), (3.5, 5.5), (5.5, 8.0), (5.5, 13.0))  # of those whose columns are fitted
FITTED_NONE = 2.0  # weight of what is none among these


@dataclass(frozen=True)
class Sample:
    """Candidates of one image (lengths in sigmas), which of them are columns, and their weights in the fit."""

    u: np.ndarray
    v: np.ndarray
    p: np.ndarray
    size: tuple[float, float]
    column: np.ndarray
    weight: np.ndarray


def fit(samples: list[Sample], rounds: int = ROUNDS) -> tuple[float, ...]:
    """Weights for :func:`~hs_deepatoms.atoms.order.reconsidered`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    weights = None
    for _ in range(rounds):
        parts = [part for sample in samples if (part := _rows(sample, weights)) is not None]
        x, y, w = (np.concatenate(values) for values in zip(*parts, strict=True))
        model = make_pipeline(StandardScaler(), LogisticRegression(C=100, max_iter=1000))
        model.fit(x, y, logisticregression__sample_weight=w)
        slopes = model[1].coef_[0] / model[0].scale_
        weights = (*map(float, slopes), float(model[1].intercept_[0] - slopes @ model[0].mean_))
    return weights


def _rows(sample: Sample, weights):
    """Features, truth and weights of the candidates that have equivalents; from the second round on after one."""
    p = np.clip(sample.p, order.EDGE, 1 - order.EDGE)
    sites = order.Sites.of(sample.u, sample.v, p, sample.size)
    if sites is None:
        return None
    evidence = sites.evidence(p)
    if weights is not None:
        evidence = sites.evidence(order.applied(p, evidence, weights))
    known = evidence.number > order.EQUIVALENTS
    return order.features(logit(p), evidence)[known], sample.column[known], sample.weight[known]


def fit_heights(found: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """Weights for :func:`~hs_deepatoms.atoms.alike.weighed`, from ratios, probabilities and truth of candidates."""
    from sklearn.linear_model import LogisticRegression

    ratio, p, column = (np.concatenate(values) for values in zip(*found, strict=True))
    odds = logit(np.clip(p, alike.DECIDED, 1 - alike.DECIDED))
    model = LogisticRegression(C=100, max_iter=1000)
    model.fit(np.column_stack([ratio, odds]), column, sample_weight=np.where(column, 1.0, FITTED_NONE))
    return (*map(float, model.coef_[0]), float(model.intercept_[0]))


def fitted_samples(
    model: Path, weights: tuple[float, ...], seed: int, lattices: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of the fitted candidates of simulated lattices: how they measure up, their probabilities, and the truth."""
    for k in range(lattices):
        weakest, strongest = FITTED_STRENGTHS[k % len(FITTED_STRENGTHS)]
        one = simulate_lattice(np.random.default_rng([seed, 2, k]), weakest=weakest, strongest=strongest)
        fitted = _fitted(model, one.image, weights)
        if fitted is None:
            continue
        points, done, job = fitted
        ratio = judge.compared(points, done, job.column_sigma)[0]
        y, x = points.y[done.rows], points.x[done.rows]
        column = matched(y, x, one.y, one.x, max(1.5 * one.sigma, 1.0))
        known = np.isfinite(ratio)
        yield ratio[known], points.probability[done.rows][known], column[known]


def _fitted(model: Path, image: np.ndarray, weights: tuple[float, ...]) -> tuple[Points, FrameFit, Detection] | None:
    """The candidates of an image and the fit to those of them that are fitted; None where no columns are seen."""
    job = _job(model, image)
    if job is None:
        return None
    whole = (0, image.shape[0], 0, image.shape[1])
    box = Block((0, 1), whole, whole)
    job = replace(job, refine="quick", order=weights, heights=(0.0, 1.0, 0.0), certain=THRESHOLD)
    job = block.measured(image[None], box, replace(job, reported=CANDIDATE))
    points = block.in_light_of_crystal(block.find(image[None], box, job, "network"), job)
    return points, block.fit_frame(points, image, 0, box, job), job


def averaged_samples(
    model: Path, weights: tuple[float, ...], seed: int, scenes: int, lattices: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of the fitted candidates that nothing is known to compare with: the features, the truth, and weights."""
    for k in range(scenes):
        scene, sigma = _scene(seed, k)
        yield from _averaged(model, weights, scene.image, scene.y, scene.x, sigma)
    for k in range(lattices):
        weakest, strongest = FITTED_STRENGTHS[k % len(FITTED_STRENGTHS)]
        one = simulate_lattice(np.random.default_rng([seed, 2, k]), weakest=weakest, strongest=strongest)
        yield from _averaged(model, weights, one.image, one.y, one.x, one.sigma, (one.empty_y, one.empty_x))


def _averaged(model: Path, weights, image, y, x, sigma: float, empty=((), ())) -> Iterator[tuple[np.ndarray, ...]]:
    fitted = _fitted(model, image.astype(np.float32), weights)
    if fitted is None:
        return
    points, done, job = fitted
    rows = done.rows
    typical = judge.compared(points, done, job.column_sigma)[1]
    mean = averaged.averaged(points, Faint.of(points, done, job.column_sigma), np.isnan(typical))
    known = np.isfinite(mean[:, 1])
    seen, evidence = (points.fitted[name][rows] for name in ("seen", "evidence"))
    seen_as = averaged.features(points.probability[rows], seen, evidence, mean)
    column = matched(points.y[rows], points.x[rows], y, x, max(1.5 * sigma, 1.0))
    weight = np.ones(len(rows))
    if len(empty[0]):
        place = np.column_stack([points.y[rows], points.x[rows]])
        beside = cKDTree(np.column_stack(empty)).query(place)[0] < max(1.5 * sigma, 1.0)
        weight[beside & ~column] = EMPTY
    yield seen_as[known], column[known], weight[known]


def fit_averaged(found: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[float, ...]:
    """Weights of :mod:`~hs_deepatoms.atoms.averaged`, from features, truth and weights of candidates."""
    from sklearn.linear_model import LogisticRegression

    values, column, weight = (np.concatenate(v) for v in zip(*found, strict=True))
    weight = np.where(column, 1.0, np.maximum(weight, FITTED_NONE))
    model = LogisticRegression(C=100, max_iter=10_000).fit(values, column, sample_weight=weight)
    return (*map(float, model.coef_[0]), float(model.intercept_[0]))


def _scene(seed: int, k: int):
    """One of the crystals in scenes, and the width of its columns."""
    rng = np.random.default_rng([seed, 0, k])
    sigma = float(np.exp(rng.uniform(np.log(0.9), np.log(4))))
    side = int(np.clip(sigma * rng.uniform(60, 140), 80, 420))
    return simulate_scene(rng, (side, side), sigma, kind="crystal", strongest=(None, 20.0)[k % 2]), sigma


def samples(model: Path, seed: int, scenes: int, lattices: int) -> Iterator[Sample | None]:
    """Candidates of simulated images and the truth about them."""
    for k in range(scenes):
        scene, sigma = _scene(seed, k)
        yield _sample(model, scene.image, scene.y, scene.x, sigma)
    for k in range(lattices):
        rng = np.random.default_rng([seed, 1, k])
        weakest, strongest = STRENGTHS[k % 2]
        one = simulate_lattice(rng, weakest=weakest, strongest=strongest)
        yield _sample(model, one.image, one.y, one.x, one.sigma, (one.empty_y, one.empty_x), one.spacing)


def _sample(model: Path, image, y, x, sigma, empty=None, spacing=1.0) -> Sample | None:
    """Candidates as `find_atoms` has them, at the width that it measures; None where it sees no columns."""
    job = _job(model, image)
    if job is None:
        return None
    whole = (0, image.shape[0], 0, image.shape[1])
    found = detect(image[None], Block((0, 1), whole, whole), job)
    column = matched(found.y, found.x, y, x, max(1.5 * sigma, 1.0))
    weight = np.full(len(column), 1.0 if empty is None else LATTICES)
    if empty is not None and len(empty[0]) and len(column):
        beside = cKDTree(np.column_stack(empty)).query(np.column_stack([found.y, found.x]))[0] < spacing / 3
        weight[beside & ~column] *= EMPTY
    seen = job.column_sigma
    size = (image.shape[0] / seen, image.shape[1] / seen)
    return Sample(found.y / seen, found.x / seen, found.probability.astype(float), size, column, weight)


def _job(model: Path, image: np.ndarray) -> Detection | None:
    """What `find_atoms` does with an image, down to the faintest candidates; None where it sees no columns."""
    source = read_images(image, operation="find_atoms")
    look = look_at(source, model=model, device="cpu")
    return replace(detection_job(source, look), threshold=CANDIDATE) if look.confidence else None


def matched(y, x, true_y, true_x, radius: float) -> np.ndarray:
    """True for the found points that are one-to-one partners of true ones within ``radius``."""
    good = np.zeros(len(y), bool)
    if not len(y) or not len(true_y):
        return good
    distance = np.hypot(y[:, None] - true_y, x[:, None] - true_x)
    i, j = linear_sum_assignment(np.minimum(distance, 10 * radius))
    good[i[distance[i, j] < radius]] = True
    return good


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=240)
    parser.add_argument("--lattices", type=int, default=480)
    o = parser.parse_args(arguments)
    made = samples(o.model.resolve(), o.seed, o.scenes, o.lattices)
    weights = fit([sample for sample in made if sample is not None])
    print("order  ", ", ".join(f"{w:.4f}" for w in weights))
    heights = fit_heights(list(fitted_samples(o.model.resolve(), weights, o.seed, o.lattices)))
    print("heights", ", ".join(f"{w:.4f}" for w in heights))
    means = fit_averaged(list(averaged_samples(o.model.resolve(), weights, o.seed, o.scenes, o.lattices)))
    print("averaged", ", ".join(f"{w:.4f}" for w in means))


if __name__ == "__main__":
    main()
