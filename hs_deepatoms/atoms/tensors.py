"""The fit's kernels on tensors, for any device: the same calls as :mod:`hs_deepatoms.atoms.compiled.calls`."""

from hs_deepatoms.atoms.covariance import covariances
from hs_deepatoms.atoms.ground import Ground
from hs_deepatoms.atoms.noise import Noise
from hs_deepatoms.atoms.normal import Elimination, assemble, majorant, solve
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

__all__ = ["Elimination", "assemble", "beyond", "blocks", "covariances", "draw_on", "far_blocks", "filtered",
           "hessian", "level", "local_heights", "majorant", "near_pairs", "pair_blocks", "project", "slopes", "solve",
           "sums", "surface", "weigh", "weigh_under", "within"]  # fmt: skip

surface, project, hessian, level = Ground.image, Ground.project, Ground.hessian, Ground.level
weigh, weigh_under, beyond = Noise.weigh, Noise.weigh_under, Noise.beyond
