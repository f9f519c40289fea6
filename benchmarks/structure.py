"""Rings, structures and dynamics against known answers.

    python benchmarks/structure.py [--quick] [--json FILE] [--only NAME ...] [--seeds 200]
        [--models FOLDER] [--image FILE] [--picture FILE] [--atomai PYTHON]

``ideal``: sheets with known rings. ``speed``: seconds for 1,000 to 100,000 atoms. ``models``: atomistic models (folder
with ``*.npy`` of element, x, y in Å), rings beside the faces that networkx walks around for the same bonds.
``atomai``: AtomAI 0.8.1's graph (its own Python) on the same coordinates. ``loop``: images of graphene (bond 12 px,
column sigma 3.8 px, peak 20 on 5, Poisson) with a planted loop of six fives and six sevens, through ``find_atoms`` and
``rings``. ``boundary``: a real image (npz with ``image``) of a grain boundary. ``round_trip``: through POSCAR, cif,
extxyz and lammps-data. ``relax``: a noisy copper sheet (EMT) and a Lennard-Jones crystal; energy drift at constant
energy. ``diffusion``: planted random walks with drift and localisation errors. ``markov``: a planted chain of classes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import hs_deepatoms
from hs_deepatoms.simulate import sheets
from hs_deepatoms.simulate.columns import draw_columns

BOND = 1.42  # Å
SHORTEST = 1.2  # Å: no bond of carbon is shorter
ATOMAI = """
import sys, time, json, numpy as np
from atomai.utils.graphx import Graph
c = np.load(sys.argv[1]); seconds = []
for _ in range(int(sys.argv[3])):
    begun = time.process_time()
    g = Graph(np.column_stack([c, np.zeros(len(c))]), {0: "C"}); g.find_neighbors(expand=1.2)
    g.polycount(max_depth=int(sys.argv[2])); g.remove_filled_polygons()
    seconds.append(time.process_time() - begun)
size, n = np.unique([len(r) for r in g.rings], return_counts=True)
print(json.dumps({"seconds": float(np.median(seconds)), "rings": dict(zip(map(int, size), map(int, n)))}))
"""


def calibrated(shape, pixel=0.1, units="Å"):
    """An empty image with calibrated axes."""
    import xarray as xr

    axes = {name: np.arange(n) * pixel for name, n in zip("yx", shape, strict=True)}
    image = xr.DataArray(np.zeros(shape, np.float32), axes, ("y", "x"))
    for dim in image.dims:
        image[dim].attrs["units"] = units
    return image


def table(y, x, pixel=0.1, species=None):
    """A table of positions in Å."""
    y, x = np.asarray(y) - np.min(y) + 2, np.asarray(x) - np.min(x) + 2
    image = calibrated((int(np.ptp(y) / pixel) + 60, int(np.ptp(x) / pixel) + 47), pixel)
    columns = None if species is None else {"species": species}
    return hs_deepatoms.positions(y / pixel, x / pixel, signal=image, columns=columns)


def counts(rings) -> dict[int, int]:
    total = rings["ring_count"].sum([dim for dim in rings["ring_count"].dims if dim != "ring_size"])
    return {int(size): int(n) for size, n in zip(total["ring_size"], total, strict=True) if n}


def kinds(rings) -> list[str]:
    names = json.loads(rings["cluster_kind"].attrs["names"])
    return [names[str(int(kind))] for kind in rings["cluster_kind"].values]


def by_networkx(graph) -> dict[int, int]:
    """Faces that networkx walks around, atom by atom, once it has found the drawing to be planar (genus 0)."""
    import networkx as nx

    trimmed = graph.copy()
    trimmed.remove_edges_from(list(nx.bridges(graph)))
    sizes = []
    for part in nx.connected_components(trimmed):
        if len(part) < 3:
            continue
        drawing, seen, own = nx.PlanarEmbedding(), set(), []
        for atom in part:
            at = graph.nodes[atom]
            angle = {k: np.arctan2(graph.nodes[k]["y"] - at["y"], graph.nodes[k]["x"] - at["x"]) for k in trimmed[atom]}
            last = None
            for near in sorted(angle, key=angle.get):
                drawing.add_half_edge(atom, near, **({} if last is None else {"cw": last}))
                last = near
        drawing.check_structure()  # raises where it is not planar
        for edge in drawing.edges:
            if edge not in seen:
                own.append(len(drawing.traverse_face(*edge, mark_half_edges=seen)))
        sizes += sorted(own)[:-1]  # the largest is the outside
    return {int(k): int(n) for k, n in zip(*np.unique(sizes, return_counts=True), strict=True)}


def ideal(options) -> list[dict]:
    """Known counts of sheets, by radii, by shape and with a periodic cell."""
    perfect = sheets.honeycomb(10, 17)
    hexagons = len(perfect.bonds) - perfect.y.size + 1
    cases = [
        ("graphene", perfect, {6: hexagons}, []),
        ("Stone-Wales", sheets.stone_wales(perfect), {5: 2, 6: hexagons - 4, 7: 2}, ["Stone-Wales"]),
        ("divacancy", sheets.divacancy(perfect), {5: 2, 6: hexagons - 4, 8: 1}, ["5-8-5"]),
        ("loop", sheets.ring_loop(perfect), {5: 6, 6: hexagons - 12, 7: 6}, ["5-7 loop"]),
    ]
    # tilted by 21.8 degrees with an eight in it, by 32.2 degrees (Sigma 13) of fives and sevens alone
    for tilt in (21.787, 32.204):
        boundary, sizes, _ = sheets.grain_boundary(40, 30, tilt)
        truth = {int(k): int(n) for k, n in zip(*np.unique(sizes, return_counts=True), strict=True)}
        cases.append((f"boundary {tilt:.1f}", boundary, truth, None))
    rows = []
    for name, sheet, truth, defects in cases:
        atoms = table(sheet.y * BOND, sheet.x * BOND)
        for how, arguments in (("shape", {}), ("radii", {"elements": "C"})):
            found = atoms.deepatoms.rings(**arguments)
            right = counts(found) == truth and (defects is None or kinds(found) == defects)
            rows.append({"case": name, "bonds": how, "rings": counts(found), "truth": truth, "kinds": kinds(found),
                         "exact": right})  # fmt: skip
    rows += [_hbn(), *_tubes()]
    for row in rows:
        print(
            f"ideal  {row['case']:16s} {row['bonds']:6s} exact={row['exact']} {row['rings']} {row['kinds']}", flush=True
        )
    return rows


def _hbn() -> dict:
    sheet = sheets.honeycomb(8, 11)
    boron = np.tile([True, False, True, False], 88)
    atoms = table(sheet.y * 1.45, sheet.x * 1.45, species=np.where(boron, "B", "N"))
    found = atoms.deepatoms.rings(elements={"N": "N", "B": "B"})
    mixed = atoms.deepatoms.graph(elements={0: "B", 1: "N"})
    alternate = all(mixed.nodes[a]["species"] != mixed.nodes[b]["species"] for a, b in mixed.edges)
    truth = {6: len(sheet.bonds) - sheet.y.size + 1}
    return {"case": "hBN", "bonds": "radii", "rings": counts(found), "truth": truth, "kinds": kinds(found),
            "exact": counts(found) == truth and alternate}  # fmt: skip


def _tubes() -> list[dict]:
    """A tube unrolled (periodic around it), open along its axis; and a sheet that repeats along both."""
    sheet, rows = sheets.honeycomb(7, 12), []
    atoms = table(sheet.y * BOND, sheet.x * BOND)
    around, along = 12 * np.sqrt(3) * BOND, 21 * BOND
    for name, cell, truth in (("tube unrolled", (10 * along, around), 12 * (2 * 7 - 1)),
                              ("periodic sheet", (along, around), 2 * 7 * 12)):  # fmt: skip
        for how, arguments in (("radii", {"elements": "C"}), ("shape", {})):
            found = atoms.deepatoms.rings(cell=cell, **arguments)
            rows.append({"case": name, "bonds": how, "rings": counts(found), "truth": {6: truth}, "kinds": kinds(found),
                         "exact": counts(found) == {6: truth}})  # fmt: skip
    return rows


def speed(options) -> dict:
    """Seconds of ``rings`` for sheets of different size, and how they grow."""
    rows = []
    for n in (1000, 5000, 20000, 100000):
        side = int(np.sqrt(n / 4 / np.sqrt(3)))
        sheet = sheets.honeycomb(side, round(n / 4 / side))
        noise = np.random.default_rng(0).normal(0, 0.03, (2, sheet.y.size))
        atoms = table((sheet.y + noise[0]) * BOND, (sheet.x + noise[1]) * BOND)
        seconds = {}
        for how, arguments in (("radii", {"elements": "C"}), ("shape", {})):
            each = []
            for _ in range(3 if n < 50000 else 2):
                begun = time.perf_counter()
                found = atoms.deepatoms.rings(**arguments)
                each.append(time.perf_counter() - begun)
            seconds[how] = min(each)
        exact = counts(found) == {6: len(sheet.bonds) - sheet.y.size + 1}
        begun = time.perf_counter()
        atoms.deepatoms.graph(elements="C")
        seconds["networkx"] = time.perf_counter() - begun
        rows.append({"atoms": int(sheet.y.size), "seconds": seconds, "exact": exact})
        print(f"speed  {sheet.y.size} atoms", {k: round(v, 3) for k, v in seconds.items()}, "exact", exact, flush=True)
    size, used = np.log([r["atoms"] for r in rows[1:]]), np.log([r["seconds"]["radii"] for r in rows[1:]])
    exponent = float(np.polyfit(size, used, 1)[0])
    print(f"speed  exponent from 5,000 to 100,000 atoms: {exponent:.2f}", flush=True)
    return {"rows": rows, "exponent": exponent}


def models(options) -> list[dict]:
    """Atomistic models, beside faces from networkx for the same bonds."""
    rows = []
    for path in sorted(Path(options.models).glob("*.npy")) if options.models else []:
        data = np.load(path, allow_pickle=True)
        elements, x, y = data[:, 0].astype(str), *data[:, 1:].astype(float).T
        atoms = table(y, x, pixel=0.02, species=elements)
        for how, arguments in (("shape", {}), ("1.85 Å", {"cutoff": "1.85 Å"}), ("radii", {"elements": None})):
            rows.append(_model_row(path.stem, atoms, how, arguments, elements))
            print("models", rows[-1], flush=True)
    return rows


def _model_row(name: str, atoms, how: str, arguments: dict, elements) -> dict:
    if how == "radii":
        arguments = {"elements": {k: one for k, one in enumerate(np.unique(elements))}}
    nearest = atoms.deepatoms.neighbours(k=1)["distance"].values[:, 0]
    buckled = nearest < SHORTEST  # in projection only, where the sheet is steep
    row = {"model": name, "bonds": how, "atoms": int(atoms.sizes["atom"]), "too_near": int(buckled.sum())}
    try:
        found = atoms.deepatoms.rings(largest=1000, **arguments)
    except hs_deepatoms.errors.TableError as error:
        return {**row, "refused": str(error)}
    row |= {"rings": counts(found), "crossing": int(found.attrs["crossing_bonds"])}
    row["odd_rings"] = _explained(found, atoms, buckled, elements)
    graph = atoms.deepatoms.graph(**arguments)
    if row["crossing"] == 0:
        row["networkx"] = by_networkx(graph)
        row["same"] = row["networkx"] == row["rings"]
    return row


def _explained(found, atoms, buckled, elements) -> dict:
    """Of the rings that differ by two and more from the usual ones: how many are where the sheet is steep, or doped."""
    ids, members, size = atoms["atom"].values, found["atoms"].values, found["size"].values
    names, number = np.unique(elements, return_counts=True)
    steep, doped = (np.isin(members, ids[which]).any(axis=1) for which in (buckled, elements != names[number.argmax()]))
    odd = np.abs(size - found.attrs["regular"]) > 1
    return {"number": int(odd.sum()), "buckled": int((odd & steep).sum()), "doped": int((odd & doped & ~steep).sum()),
            "neither": size[odd & ~steep & ~doped].tolist()}  # fmt: skip


def atomai(options) -> list[dict]:
    """The same coordinates through AtomAI's graph, in the same run: medians of CPU seconds, without imports.

    Ours are those of ``rings`` of a table, which counts, names defects and labels its result; and of the arrays alone.
    """
    from hs_deepatoms.structure.graph import bonds_of_elements
    from hs_deepatoms.structure.rings import find_rings

    rows = []
    for n, largest in ((1000, 7), (5000, 7), (5000, 10), (5000, 12)) if options.atomai else ():
        side = int(np.sqrt(n / 4 / np.sqrt(3)))
        sheet = sheets.stone_wales(sheets.honeycomb(side, round(n / 4 / side)))
        y, x = sheet.y * BOND, sheet.x * BOND
        atoms, carbon = table(y, x), np.full(y.size, 6)
        found, seconds = timed(lambda atoms=atoms, n=largest: atoms.deepatoms.rings(elements="C", largest=n))
        kernel = timed(lambda y=y, x=x, c=carbon, n=largest: find_rings(y, x, bonds_of_elements(y, x, c), largest=n))[1]
        ours = counts(found)
        theirs = by_atomai(options.atomai, y, x, largest)
        same = theirs["rings"] is not None and {int(k): v for k, v in theirs["rings"].items()} == ours
        rows.append({"atoms": int(y.size), "largest": largest, "seconds": seconds, "of_arrays": kernel, "rings": ours,
                     "atomai": theirs, "same": same, "times_faster": theirs["seconds"] / seconds,
                     "arrays_faster": theirs["seconds"] / kernel})  # fmt: skip
        print("atomai", rows[-1], flush=True)
    return rows


def timed(run, times: int = 51) -> tuple:
    """What it gives, and the median of its CPU seconds."""
    seconds = []
    for _ in range(times):
        begun = time.process_time()
        made = run()
        seconds.append(time.process_time() - begun)
    return made, float(np.median(seconds))


def by_atomai(python: str, y, x, largest: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/c.npy", np.column_stack([y, x]))
        command = [python, "-c", ATOMAI, f"{folder}/c.npy", str(largest), "7" if largest < 10 else "1"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=400, env={"OMP_NUM_THREADS": "1"})
        except subprocess.TimeoutExpired:
            return {"seconds": float("inf"), "rings": None}
    return json.loads(done.stdout.strip().splitlines()[-1])


def loop(options) -> dict:
    """Images of a planted loop through ``find_atoms`` and ``rings``: exactly these defects inside the field?"""
    made = {}
    for name, settings in (
        ("default", {}),
        ("full", {"refine": "full"}),
        ("full, spacing", {"refine": "full", "spacing": 12}),
        ("full, spacing, bright", {"refine": "full", "spacing": 12, "contrast": "bright"}),
    ):
        rows = [loop_row(seed, settings) for seed in range(20 if options.quick else options.seeds)]
        made[name] = {"exact": sum(row["exact"] for row in rows), "seeds": len(rows), "rows": rows}
        wrong = [(row["seed"], row["odd"]) for row in rows if not row["exact"]]
        print(f"loop   {name}: {made[name]['exact']} of {len(rows)} exact; wrong:", wrong[:12], flush=True)
    return made


def loop_row(seed: int, settings: dict) -> dict:
    sheet, rng = sheets.ring_loop(sheets.honeycomb(10, 16)), np.random.default_rng(seed)
    turn, shift = rng.uniform(0, 2 * np.pi), rng.uniform(-6, 6, 2)
    y, x = sheet.y - np.mean(sheet.y), sheet.x - np.mean(sheet.x)
    y, x = 12 * (np.cos(turn) * y + np.sin(turn) * x), 12 * (-np.sin(turn) * y + np.cos(turn) * x)
    shape = (210, 226)  # inside the sheet: its rim is not in the picture
    y, x = y + shape[0] / 2 + shift[0], x + shape[1] / 2 + shift[1]
    expected = 20 * draw_columns(shape, y, x, np.ones(y.size), 3.8) + 5
    found = hs_deepatoms.find_atoms(rng.poisson(expected).astype(np.float32), show_progressbar=False, **settings)
    inside = np.all([(w > 0) & (w < n - 1) for w, n in ((y, shape[0]), (x, shape[1]))], axis=0)
    row = {"seed": seed, "found": int(found.sizes["atom"]), "columns": int(inside.sum())}
    try:
        rings = found.deepatoms.rings()
    except hs_deepatoms.errors.TableError as error:
        return {**row, "exact": False, "odd": str(error)[:40], "kinds": []}
    odd = {k: n for k, n in counts(rings).items() if k != 6}
    exact = odd == {5: 6, 7: 6} and kinds(rings) == ["5-7 loop"]
    return {**row, "exact": exact, "odd": odd, "kinds": kinds(rings)}


def boundary(options) -> dict:
    """A real image of a grain boundary; the picture is written where asked."""
    if not options.image:
        return {}
    data = np.load(options.image)
    size = float(data["pixel_size_nm"])
    image = calibrated(data["image"].shape, size, "nm")
    image.values[:] = data["image"]
    known = hs_deepatoms.positions(data["y_px"], data["x_px"], signal=image)
    found = hs_deepatoms.find_atoms(image, show_progressbar=False)
    cleaned = found.deepatoms.remove_overlaps("0.1 nm")
    row = {}
    for name, atoms, arguments in (("labels", known, {}), ("find_atoms", found, {}),
                                   ("find_atoms, doubtful kept", found, {"keep_doubtful": True}),
                                   ("find_atoms, overlaps removed", cleaned, {})):  # fmt: skip
        rings = atoms.deepatoms.rings(**arguments)
        largest = rings["size"].values[rings["cluster_of_ring"].values == 0].tolist()
        row[name] = {"atoms": int(atoms.sizes["atom"]), "rings": counts(rings), "kinds": kinds(rings),
                     "largest_cluster": sorted(largest), "left_out": int(rings["left_out"].sum())}  # fmt: skip
        print("boundary", name, row[name], flush=True)
    if options.picture:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        axes = plt.subplots(1, 2, figsize=(14, 7), layout="constrained")[1]
        known.deepatoms.plot_rings(image, ax=axes[0])
        found.deepatoms.plot_rings(image, ax=axes[1])
        axes[0].figure.savefig(options.picture, dpi=80)
    return row


def round_trip(options) -> list[dict]:
    """Largest change of a position in pixels of a 700 x 1024 image, and whether every element came back."""
    from ase.io import read
    from scipy.spatial import cKDTree

    rng, image = np.random.default_rng(0), calibrated((700, 1024), 0.117)
    y, x = (k.ravel() + rng.normal(size=k.size) for k in np.mgrid[10:690:30.0, 10:1010:45.0])
    columns = {"species": np.where(rng.random(y.size) < 0.9, "carbon", "dopant"), "probability": rng.random(y.size)}
    atoms, rows = hs_deepatoms.positions(y, x, signal=image, columns=columns), []
    for name, kind in (("POSCAR", "vasp"), ("a.cif", "cif"), ("a.xyz", "extxyz"), ("a.lmp", "lammps-data")):
        for order in ({"dopant": "Si", "carbon": "C"}, {0: "C", 1: "Si"}):
            with tempfile.TemporaryDirectory() as folder:
                back = read(atoms.deepatoms.export(f"{folder}/{name}", format=kind, species=order), format=kind)
            made = hs_deepatoms.from_ase(back, signal=image)
            tree = cKDTree(np.column_stack([made["y_px"], made["x_px"]]))
            distance, row = tree.query(np.column_stack([atoms["y_px"], atoms["x_px"]]))
            names = json.loads(made["species"].attrs["names"])
            symbols = np.array([names[str(k)] for k in made["species"].values])[row]
            same = bool(((symbols == "Si") == (atoms["species"].values == 1)).all())
            rows.append({"format": kind, "species": str(order), "largest_px": float(distance.max()), "elements": same,
                         "all": np.unique(row).size == y.size == made.sizes["atom"]})  # fmt: skip
            print("round_trip", rows[-1], flush=True)
    return rows


def relax(options) -> dict:
    """Energies before and after, topology, and the drift of the energy at constant energy."""
    from ase.build import bulk, fcc111
    from ase.calculators.emt import EMT
    from ase.calculators.lj import LennardJones

    rng, made = np.random.default_rng(0), {}
    slab = fcc111("Cu", (6, 8, 1), vacuum=5)
    lj = fcc111("Ar", (6, 8, 1), a=5.26, vacuum=5)
    argon = LennardJones(sigma=3.4, epsilon=0.0104, rc=10.0, smooth=True)
    for name, sheet, calculator in (("EMT copper", slab, EMT()), ("LJ argon", lj, argon)):
        ideal = hs_deepatoms.from_ase(sheet)
        spacing = float(ideal.deepatoms.neighbours(k=1)["distance"].median())
        noisy = ideal.copy()
        for axis in "yx":
            noise = rng.normal(0, 0.05 * spacing, ideal.sizes["atom"])
            noisy[axis] = ideal[axis].copy(data=ideal[axis].values + noise)
        done = noisy.deepatoms.relax(calculator, species={0: sheet.symbols[0]}, fmax=0.02 if name[0] == "E" else 1e-3)
        edges = [set(one.deepatoms.graph(cutoff=1.35 * spacing).edges) for one in (ideal, noisy, done)]
        made[name] = {"before": done.attrs["energy_before"], "after": done.attrs["energy"],
                      "converged": done.attrs["converged"], "same_bonds_as_ideal": edges[2] == edges[0],
                      "same_bonds_as_noisy": edges[2] == edges[1]}  # fmt: skip
        print("relax ", name, made[name], flush=True)
    crystal = bulk("Cu", cubic=True).repeat(2)
    from hs_deepatoms.structure.ase import run_dynamics

    run = run_dynamics(crystal, EMT(), steps=1000, timestep=2.0, temperature=300, every=1)
    total = (run.potential + run.kinetic) / len(crystal)
    made["NVE"] = {
        "steps": 1000,
        "timestep_fs": 2.0,
        "largest_change_per_atom_eV": float(np.abs(total - total[0]).max()),
    }
    print("relax  NVE", made["NVE"], flush=True)
    return made


def diffusion(options) -> dict:
    """Planted random walks with a localisation error of 0.5 px and drift, seed by seed beside the estimator's scatter.

    The covariance estimator of N steps along each of two axes scatters by sqrt((6 + 4 e + 2 e^2) / 2 N), with e the
    variance of localisation over D; the Cramer-Rao bound of any estimator is nearly as large.
    """
    from hs_deepatoms.structure.diffusion import diffusion as estimate

    rows, constant, blur = [], 0.4, 0.25
    ratio = blur / constant
    for n_atoms, n_frames in ((60, 201), (6, 2001), (60, 1001)):
        errors, stds = [], []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            walk = np.cumsum(rng.normal(0, np.sqrt(2 * constant), (2, n_atoms, n_frames)), axis=2)
            walk += np.cumsum(rng.normal(0.3, 0.5, (2, 1, n_frames)), axis=2) + rng.normal(0, 0.5, walk.shape)
            track, frame = (k.ravel() for k in np.indices((n_atoms, n_frames)))
            found = estimate(track, frame, walk[0].ravel(), walk[1].ravel())
            errors.append(found.constant / constant - 1)
            stds.append(found.constant_std / constant)
        errors, stds = np.array(errors), np.array(stds)
        free = found.steps * (1 - 1 / n_atoms)  # the drift takes one step of each frame
        scatter = float(np.sqrt((6 + 4 * ratio + 2 * ratio**2) / (2 * free)))
        rows.append({"atoms": n_atoms, "displacements": found.steps, "mean_error": float(errors.mean()),
                     "rms_error": float(np.sqrt((errors**2).mean())), "theory": scatter,
                     "bound": float(_bound(constant, blur) / np.sqrt(2 * free)),
                     "largest": float(np.abs(errors).max()),
                     "beyond_5_percent": int((np.abs(errors) > 0.05).sum()), "seeds": len(errors),
                     "rms_pull": float(np.sqrt(((errors / stds) ** 2).mean()))})  # fmt: skip
        print("diffusion", rows[-1], flush=True)
    return {"rows": rows}


def _bound(constant: float, blur: float) -> float:
    """Cramer-Rao bound of the relative error of D for one step, D and the error of localisation unknown."""
    slow = 1 - np.cos(np.linspace(0, np.pi, 20001))
    power = 2 * constant + 2 * blur * slow
    each = 2 / power, 2 * slow / power
    information = np.array([[np.mean(a * b) for a in each] for b in each]) / 2
    return float(np.sqrt(np.linalg.inv(information)[0, 0]) / constant)


def markov(options) -> dict:
    """A planted chain of three classes: deviations of the probabilities over their reported errors."""
    from hs_deepatoms.structure.transitions import markov_chain

    truth = np.array([[0.9, 0.08, 0.02], [0.1, 0.85, 0.05], [0.0, 0.2, 0.8]])
    pulls = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        state = rng.integers(0, 3, 200)
        before, after = [], []
        for _ in range(50):
            new = (rng.random((200, 1)) > np.cumsum(truth, axis=1)[state]).sum(axis=1)
            before.append(state)
            after.append(new)
            state = new
        chain = markov_chain(np.concatenate(before), np.concatenate(after), np.ones(3), 3)
        pulls.append(((chain.probability - truth) / chain.probability_std)[truth > 0])
    pulls = np.concatenate(pulls)
    row = {"rms_pull": float(np.sqrt((pulls**2).mean())), "largest_pull": float(np.abs(pulls).max()), "n": pulls.size}
    print("markov", row, flush=True)
    return row


PARTS = (ideal, speed, models, atomai, loop, boundary, round_trip, relax, diffusion, markov)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=200)
    for name in ("--json", "--models", "--image", "--picture", "--atomai"):
        parser.add_argument(name)
    parser.add_argument("--only", nargs="*", choices=[part.__name__ for part in PARTS])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    begun, result = time.time(), {}
    for part in PARTS:
        if not options.only or part.__name__ in options.only:
            result[part.__name__] = part(options)
    result["seconds"] = round(time.time() - begun, 1)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1, default=str)
