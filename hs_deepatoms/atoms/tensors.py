"""The fit's kernels on tensors, for any device: the same calls as :mod:`hs_deepatoms.atoms.compiled.calls`."""

from hs_deepatoms.atoms.covariance import covariances
from hs_deepatoms.atoms.ground import Ground
from hs_deepatoms.atoms.noise import Noise, binned, totals
from hs_deepatoms.atoms.normal import Elimination, assemble, majorant, raised, solve
from hs_deepatoms.atoms.peaks import (
    blocks,
    draw_on,
    far_blocks,
    filtered,
    local_heights,
    near_pairs,
    pair_blocks,
    slopes,
    sums,
    within,
)
from hs_deepatoms.atoms.strides import changes, hold, in_equations, pulled, stride

__all__ = ["Elimination", "assemble", "beyond", "binned", "blocks", "changes", "covariances", "draw_on", "far_blocks",
           "filtered", "hessian", "hold", "in_equations", "level", "local_heights", "majorant", "near_pairs",
           "pair_blocks", "project", "pulled", "raised", "slopes", "solve", "stride", "sums", "surface", "totals",
           "weigh", "weigh_under", "within"]  # fmt: skip

surface, project, hessian, level = Ground.image, Ground.project, Ground.hessian, Ground.level
weigh, weigh_under, beyond = Noise.weigh, Noise.weigh_under, Noise.beyond
