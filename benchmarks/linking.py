"""How many links between the frames of a movie are right.

    python benchmarks/linking.py [--lattices square honeycomb ...] [--seeds 3] [--frames 30] [--atoms 400]
                                 [--speed] [--json FILE]

Lattices of which all atoms drift by 0.35 of the spacing per frame, in one direction, in one that wanders, or in a new
one for every frame; every atom hops at random; 5 % vanish for good in every frame and as many appear elsewhere; 2 % are
missed. Hops are of two kinds: ``vibrate`` is about the atom's own site, 0.1 of the spacing in one sigma per axis;
``walk`` adds up, each hop 0.1 of the spacing long (root mean square). A site stays empty for three frames before a new
atom may appear there: the linker lets an atom be missing for two, and sooner, nobody could tell the new from the old.

``found`` is the share of the true links that were made, ``right`` the share of the links made that are true;
``drift`` the largest error of the drift, in spacings. ``no_drift`` links the same movie without taking the drift off.
``--speed`` adds a movie of 100 frames with 5000 atoms each.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from hs_deepatoms.atoms.link import drift, link
from hs_deepatoms.simulate.movies import LATTICES, link_scores, moving_lattice

WANDERS = {"constant": 0.0, "wandering": 0.3, "random": np.inf}
MOTIONS = {"vibrate": {"hop": 0.1, "walk": False}, "walk": {"hop": 0.1 / np.sqrt(2), "walk": True}}
MEMORY = 2


def scores(movie):
    """Of one movie."""
    start = time.perf_counter()
    moved = drift(movie.frame, movie.y, movie.x, n_frames=movie.n_frames, extent=(0, movie.size, 0, movie.size))
    drift_s = time.perf_counter() - start
    y, x = movie.y - moved.y[movie.frame], movie.x - moved.x[movie.frame]
    start = time.perf_counter()
    found, right = link_scores(movie, link(movie.frame, y, x, n_frames=movie.n_frames, memory=MEMORY), MEMORY)
    link_s = time.perf_counter() - start
    error = np.hypot(moved.y - movie.drift_y, moved.x - movie.drift_x).max()
    return {"found": found, "right": right, "drift": error, "drift_s": drift_s, "link_s": link_s}


def naive(movie):
    track = link(movie.frame, movie.y, movie.x, n_frames=movie.n_frames, memory=MEMORY)
    return link_scores(movie, track, MEMORY)[0]


def run(options):
    results = []
    for lattice in options.lattices:
        for wander, angle in WANDERS.items():
            for motion, hops in MOTIONS.items():
                size = {"n_frames": options.frames, "n_atoms": options.atoms}
                movies = [moving_lattice(lattice, wander=angle, seed=s, **hops, **size) for s in range(options.seeds)]
                made = [scores(movie) for movie in movies]
                entry = {"lattice": lattice, "direction": wander, "motion": motion}
                entry |= {name: round(min(one[name] for one in made), 5) for name in ("found", "right")}
                entry["drift"] = round(max(one["drift"] for one in made), 4)
                entry["no_drift"] = round(naive(movies[0]), 4)
                results.append(entry)
                print(*entry.values(), sep="\t", flush=True)
    return results


def speed():
    movie = moving_lattice("hexagonal", n_frames=100, n_atoms=6100, wander=0.3)
    made = scores(movie)
    return {"frames": movie.n_frames, "atoms_per_frame": round(movie.y.size / movie.n_frames), **made}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lattices", nargs="+", default=list(LATTICES), choices=list(LATTICES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--atoms", type=int, default=400)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    print("lattice", "direction", "motion", "found", "right", "drift", "no_drift", sep="\t")
    results = {"lowest of the seeds": run(options)}
    results["worst"] = {name: min(one[name] for one in results["lowest of the seeds"]) for name in ("found", "right")}
    print("worst:", results["worst"])
    if options.speed:
        results["speed"] = speed()
        print("speed:", results["speed"])
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"options": vars(options), **results}, file, indent=1)


if __name__ == "__main__":
    main()
