"""
Structures, energies and molecular dynamics
===========================================

From positions in an image to a structure that simulation codes read, and what ASE's own calculators say of it: Tersoff
for carbon, EMT for metals, Lennard-Jones for rare gases. Any other calculator of ASE takes their place.
"""

# %%
# A Stone-Wales defect in a simulated image of graphene, with a bond length of 1.42 Å.
import tempfile

import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np
from ase.build import fcc111
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.tersoff import Tersoff, TersoffParameters
from ase.visualize.plot import plot_atoms

import hs_deepatoms
from hs_deepatoms.simulate.columns import draw_columns
from hs_deepatoms.simulate.sheets import honeycomb, stone_wales

sheet, bond, shape = stone_wales(honeycomb(5, 6)), 12.0, (200, 160)
y = bond * (sheet.y - sheet.y.mean()) + shape[0] / 2
x = bond * (sheet.x - sheet.x.mean()) + shape[1] / 2
image = np.random.default_rng(0).poisson(60 * draw_columns(shape, y, x, np.ones(y.size), 3.5) + 5)
s = hs.signals.Signal2D(image.astype(np.float32))
for axis, name in zip(s.axes_manager.signal_axes, ("x", "y"), strict=True):
    axis.name, axis.units, axis.scale = name, "nm", 0.142 / bond
atoms = s.find_atoms(show_progressbar=False)

# %%
# Atoms at the rim that hang on a single bond are left out: ASE's Tersoff has no answer for them.
bonded = atoms.deepatoms.coordination()
atoms = bonded.isel(atom=bonded["coordination"].values > 1)

# %%
# Tersoff's potential for carbon (in ASE since version 3.25), with the parameters that L. Lindsay and D. A. Broido
# fitted to graphene (Physical Review B 81 (2010) 205441, https://doi.org/10.1103/PhysRevB.81.205441).
carbon = TersoffParameters(m=3, gamma=1, lambda3=0, c=38049, d=4.3484, h=-0.930, n=0.72751, beta=1.5724e-7,
                           lambda2=2.2119, B=430.0, R=1.95, D=0.15, lambda1=3.4879, A=1393.6)  # fmt: skip
tersoff = Tersoff({("C", "C", "C"): carbon})

# %%
# Atoms move to where their forces vanish, in the plane: of heights an image says nothing. Springs hold them to where
# they were seen, the stiffer the better that is known: a displacement by one ``y_std`` costs half of ``restraint``.
relaxed = atoms.deepatoms.relax(tersoff, species="C", restraint=0.001, fmax=0.1, steps=60)
{name: relaxed.attrs[name] for name in ("energy_before", "energy", "converged")}

# %%
# Bonds as measured and relaxed.
figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for ax, table, title in zip(axes, (atoms, relaxed), ("measured", "relaxed"), strict=True):
    table.deepatoms.plot_rings(s, bonds="length", ax=ax)
    ax.set_title(title)

# %%
# Forces and every atom's part of the energy are columns of the table: the defect costs energy, and so do the edges.
relaxed[["y", "x", "force_y", "force_x", "atom_energy"]].to_dataframe().sort_values("atom_energy").tail()

# %%
figure, ax = plt.subplots(layout="constrained")
drawn = ax.scatter(relaxed["x"], relaxed["y"], c=relaxed["atom_energy"], cmap="viridis")
ax.set(aspect="equal", xlabel="x (nm)", ylabel="y (nm)")
ax.invert_yaxis()
figure.colorbar(drawn, label="energy of the atom (eV)")


# %%
# Metals: a layer of copper with its atoms out of place, and effective medium theory.
def out_of_place(structure, by):
    table, rng = hs_deepatoms.from_ase(structure), np.random.default_rng(0)
    moved = {name: table[name].copy(data=table[name] + rng.normal(0, by, table.sizes["atom"])) for name in "yx"}
    return table.assign_coords(moved)


copper = out_of_place(fcc111("Cu", (6, 8, 1), vacuum=5), 0.1)
settled = copper.deepatoms.relax(EMT(), species={0: "Cu"}, optimizer="BFGS", fmax=0.02)
{name: settled.attrs[name] for name in ("energy_before", "energy", "converged")}

# %%
# Rare gases: the same with a Lennard-Jones potential.
argon = out_of_place(fcc111("Ar", (6, 8, 1), a=5.26, vacuum=5), 0.15)
gas = LennardJones(sigma=3.4, epsilon=0.0104, rc=10.0, smooth=True)
quiet = argon.deepatoms.relax(gas, species={0: "Ar"}, fmax=1e-3)
{name: quiet.attrs[name] for name in ("energy_before", "energy", "converged")}

# %%
# Molecular dynamics of the argon layer at constant energy. The trajectory is the table of a linked movie, in which
# bonds that break, diffusion, rings and lattices are found as in any other.
run = quiet.deepatoms.md(gas, species={0: "Ar"}, temperature=10, timestep=5.0, steps=1000, every=10)
energies = run[["potential_energy", "kinetic_energy"]].groupby("time").first()
figure, ax = plt.subplots(layout="constrained")
begin = energies["potential_energy"][0] + energies["kinetic_energy"][0]
ax.plot(energies["time"], energies["potential_energy"] - begin, label="potential")
ax.plot(energies["time"], energies["kinetic_energy"], label="kinetic")
ax.plot(energies["time"], energies["potential_energy"] + energies["kinetic_energy"] - begin, "k", label="both")
ax.set(xlabel="time (fs)", ylabel="energy (eV)")
ax.legend()

# %%
# Atoms that vibrate about their places: their mean squared displacement levels off, and no bond breaks.
figure, ax = plt.subplots(layout="constrained")
msd = run.deepatoms.msd(max_lag=50)
ax.plot(msd["time_lag"], msd["msd"])
ax.set(xlabel="time (fs)", ylabel="mean squared displacement (Å²)", ylim=(0, None))
run.deepatoms.bond_events(cutoff="5 Å").sizes["event"]

# %%
# Columns seen from above as a crystal: four atoms along the beam, with vacuum above and below, as ASE draws it.
slab = settled.deepatoms.to_slab(species={0: "Cu"}, spacing="2.55 Å", layers=4, vacuum="5 Å")
figure, ax = plt.subplots(layout="constrained")
plot_atoms(slab, ax, rotation="-80x,10y", radii=0.5)

# %%
# Files for other codes: any format of ASE by ``export``, and what VASP or GPAW start from by ``hand_over``.
with tempfile.TemporaryDirectory() as folder:
    print(relaxed.deepatoms.export(f"{folder}/defect.cif", species="C").name)
    print([path.name for path in hs_deepatoms.hand_over(slab, f"{folder}/vasp", code="vasp", kpoints=(2, 2, 1))])
