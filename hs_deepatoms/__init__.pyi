from hs_deepatoms import errors as errors
from hs_deepatoms import register as register
from hs_deepatoms.bridge.convert import from_xarray as from_xarray
from hs_deepatoms.bridge.convert import to_xarray as to_xarray
from hs_deepatoms.methods.atomap import from_atomap as from_atomap
from hs_deepatoms.methods.find_atoms import find_atoms as find_atoms
from hs_deepatoms.methods.load import load as load
from hs_deepatoms.methods.segment import segment as segment
from hs_deepatoms.tables.join import concat as concat
from hs_deepatoms.tables.positions import positions as positions

__version__: str
