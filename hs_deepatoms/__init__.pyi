from hs_deepatoms import errors as errors
from hs_deepatoms import register as register
from hs_deepatoms.bridge.convert import from_xarray as from_xarray
from hs_deepatoms.bridge.convert import to_xarray as to_xarray
from hs_deepatoms.methods.atomap import from_atomap as from_atomap
from hs_deepatoms.methods.decompose_local import decompose_local as decompose_local
from hs_deepatoms.methods.extract_patches import extract_patches as extract_patches
from hs_deepatoms.methods.find_atoms import find_atoms as find_atoms
from hs_deepatoms.methods.load import load as load
from hs_deepatoms.methods.rvae import rvae as rvae
from hs_deepatoms.methods.rvae import vae as vae
from hs_deepatoms.methods.segment import segment as segment
from hs_deepatoms.methods.to_ase import from_ase as from_ase
from hs_deepatoms.methods.training_data import cut_crops as cut_crops
from hs_deepatoms.methods.training_data import label_images as label_images
from hs_deepatoms.methods.training_data import read_label_files as read_label_files
from hs_deepatoms.methods.training_data import simulated_set as simulated_set
from hs_deepatoms.tables.join import concat as concat
from hs_deepatoms.tables.positions import positions as positions
from hs_deepatoms.training.augmentation import Augmentation as Augmentation
from hs_deepatoms.training.augmentation import augmented_set as augmented_set
from hs_deepatoms.workflows.detector import Detector as Detector
from hs_deepatoms.workflows.elit import elit as elit
from hs_deepatoms.workflows.ensemble import Ensemble as Ensemble
from hs_deepatoms.workflows.latent_comparison import compare_latents as compare_latents
from hs_deepatoms.workflows.segmenter import Segmenter as Segmenter

__version__: str
