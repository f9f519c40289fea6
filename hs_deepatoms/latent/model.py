"""The variational autoencoder: invariances, discrete latents, conditions and labels are options of one model."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from hs_deepatoms.latent.poses import Frame, make_frame, render, straighten
from hs_deepatoms.latent.refine import prior_of, refine
from hs_deepatoms.latent.search import SHARE, SHIFT_STEP, Lattice, search
from hs_deepatoms.latent.smoothing import smooth
from hs_deepatoms.nets.autoencoders import DenseDecoder, make_decoder, make_encoder
from hs_deepatoms.nets.blocks import SeededNoise

BANK = 16  # motifs that a patch is compared with


class VAE(nn.Module):
    """Patches -> latents and pose; latents -> motif in its canonical pose.

    The pose of a patch is not predicted but searched: every angle, and a lattice of shifts and scales, against a bank
    of motifs that the decoder makes; then Gauss-Newton. The encoder sees the patch in its canonical pose only.

    Parameters
    ----------
    shape : (int, int)
        Height and width of a patch; (1, n) for spectra.
    channels : int
    latent_dim : int
        Continuous latents.
    invariances : sequence of {"rotation", "shift", "scale"}
    discrete : int
        Classes of a discrete latent, enumerated exactly; 0: none.
    condition : int
        Numbers per patch that encoder and decoder are given.
    labels : int
        Classes of partly known labels (then ``discrete`` is that); 0: none.
    quantity : bool
        Whether the last latent is a quantity that is known of some patches.
    likelihood : {"gaussian", "bernoulli"}
        Gaussian: the width is that of the residuals (Rybkin et al., ICML 2021, arXiv:2006.13202).
    encoder, decoder : str
    max_shift : (float, float)
        Largest shift along y and x, pixels.
    max_scale : float
        Largest scale factor; the smallest is one over it.
    max_angle : float, optional
        Largest angle, degrees; None: the full circle.
    oversampling : float
        Samples of the canonical image per pixel.
    beta : float or (float, float)
        Weight of the Kullback-Leibler terms (Higgins et al., ICLR 2017); two: at the beginning of a training, and from
        its middle on.
    capacity : float, optional
        Nats that the divergence of the latents is held at, reached from 0 in the first half of a training (Burgess et
        al., arXiv:1804.03599).
    variational : bool
        False: a plain autoencoder.
    blur : (float, float), optional
        Sigma in pixels of the Gaussian that the encoder's input and the decoder's output pass: finer detail is noise.
        None: measured when the training begins.

    Notes
    -----
    Kingma & Welling, ICLR 2014, arXiv:1312.6114. Rotation inside a VAE: Bepler et al., NeurIPS 2019, arXiv:1909.11663;
    angles enumerated: Nasiri & Bepler, NeurIPS 2022, arXiv:2210.12918. Labels: Kingma et al., NeurIPS 2014,
    arXiv:1406.5298.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        channels: int = 1,
        latent_dim: int = 2,
        invariances: tuple[str, ...] = (),
        discrete: int = 0,
        condition: int = 0,
        labels: int = 0,
        quantity: bool = False,
        likelihood: str = "gaussian",
        encoder: str = "dense",
        decoder: str = "dense",
        max_shift: tuple[float, float] = (0.0, 0.0),
        max_scale: float = 1.0,
        max_angle: float | None = None,
        oversampling: float = 1.0,
        beta: float | tuple[float, float] = 1.0,
        capacity: float | None = None,
        variational: bool = True,
        blur: tuple[float, float] | None = None,
    ):
        super().__init__()
        self.config = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.shape, self.channels, self.latent_dim = tuple(shape), channels, latent_dim
        self.invariances, self.classes, self.condition = tuple(invariances), max(discrete, labels), condition
        self.labelled, self.quantity = bool(labels), bool(quantity)
        self.likelihood, self.variational = likelihood, variational
        self.betas, self.capacity = tuple(beta) if isinstance(beta, tuple | list) else (beta, beta), capacity
        self.frame: Frame = make_frame(self.shape, self.invariances, oversampling)
        self.lattice = _lattice(self.shape, self.invariances, max_shift, max_scale, max_angle)
        self.prior = prior_of(self.lattice)
        extra = condition + self.classes
        self.encoder = make_encoder(encoder, channels, self.shape, condition)
        width = self.encoder.width
        self.to_class = nn.Linear(width, self.classes) if self.classes else None
        self.to_latent = nn.Linear(width + self.classes, 2 * latent_dim)
        self.decoder = make_decoder(decoder, latent_dim + extra, channels, self.frame.size)
        self.blur, self.noise = tuple(blur or (0.0, 0.0)), SeededNoise()
        self.rounds, self.length, self.alone_after = 0, 0, 0
        self.register_buffer("noise_variance", torch.ones(()))
        self.register_buffer("bank", torch.zeros(BANK, latent_dim + extra))
        # while it learns: class averages, and the class (-1: none) of each
        self.register_buffer("known", torch.zeros(0, channels, *self.frame.size), persistent=False)
        self.register_buffer("kinds", torch.zeros(0, dtype=torch.long), persistent=False)

    def set_blur(self, blur: tuple[float, float]) -> None:
        """Choose the two widths, pixels."""
        self.blur = self.config["blur"] = tuple(round(one, 3) for one in blur)

    def absorb_blur(self) -> None:
        """After the training: a dense decoder makes blurred images itself, which is the same and much faster."""
        if isinstance(self.decoder, DenseDecoder) and self.blur[1] > 0:
            self.decoder.absorb(lambda images: smooth(images, self.blur[1] / self.frame.step))
            self.set_blur((self.blur[0], 0.0))

    @property
    def moves(self) -> bool:
        """Whether there is a pose to be found."""
        return bool(self.prior.free)

    def split(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Rows (n, f) as patches (n, c, h, w), conditions (n, k) and labels (n,): -1 unknown; of a quantity NaN."""
        pixels = self.channels * self.shape[0] * self.shape[1]
        patches = rows[:, :pixels].unflatten(1, (self.channels, *self.shape))
        condition = rows[:, pixels : pixels + self.condition]
        if self.quantity:
            return patches, condition, rows[:, -1]
        return patches, condition, rows[:, -1].long() if self.labelled else None

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Negative evidence lower bound, a sum over pixels, and latents (n, 3 + d).

        The first three columns are likelihood, divergence of the latents, and classes and labels.
        """
        patches, condition, labels = self.split(rows)
        pose, kind = self._pose(patches, condition)
        features = self.features(patches, pose, condition)
        if not self.classes:
            cost, divergence, square = self._terms(patches, pose, features, condition, None, labels)
            self._watch_noise(square)
            terms = torch.stack([cost, divergence, self._amiss(features, labels)], 1)
            return torch.cat([terms, self.latents(features, None)[0]], 1)
        if kind is not None:
            labels = kind if labels is None else torch.where(labels < 0, kind, labels)
        return self._over_classes(patches, pose, features, condition, labels)

    @torch.no_grad()
    def _pose(self, patches, condition) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Poses, and what class the averages say that each patch is, while the decoder has not learned enough.

        At first they are those against the bank; later those against each patch's own motif.
        """
        which, pose = self.find(patches)
        self.rounds += self.training
        if self.training and self.rounds <= self.alone_after:
            return pose, self.kinds[which] if len(self.kinds) else None
        if not self.moves:
            return pose, None
        return self.refined(patches, pose, self.encode(patches, pose, condition)), None

    def refined(self, patches, pose, code, steps: int = 2) -> torch.Tensor:
        """Poses that suit the motifs of the codes best."""
        return refine(
            patches, pose, self.look(code), self.frame, self.prior, variance=self.variance(), steps=steps
        ).pose

    def features(self, patches, pose, condition) -> torch.Tensor:
        """What the encoder says about patches (n, c, h, w) taken out of their poses."""
        straight = straighten(patches, pose, self.frame) if self.moves else patches
        return self.encoder(smooth(straight, self.blur[0]), condition)

    def motif(self, code: torch.Tensor) -> torch.Tensor:
        """Canonical images (n, c, *frame.size) of codes: latents, class, condition."""
        return smooth(self.decoder(code), self.blur[1] / self.frame.step)

    def code(self, z: torch.Tensor, chosen: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Latents (n, d), one-hot classes (n, k) and conditions as one code."""
        return torch.cat([z, chosen, condition], 1)

    def look(self, code: torch.Tensor) -> torch.Tensor:
        """Canonical images as patches look: means, not logits."""
        motif = self.motif(code)
        return torch.sigmoid(motif) if self.likelihood == "bernoulli" else motif

    def view(self, code: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        """Mean patches (n, c, h, w) of codes in their poses, of the size of the patches in any case."""
        return render(self.look(code), pose, self.frame)

    def picture(self, code: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        """Patches (n, c, h, w) of codes in their poses; logits for the Bernoulli likelihood."""
        return render(self.motif(code), pose, self.frame) if self.moves else self.motif(code)

    @torch.no_grad()
    def find(self, patches: torch.Tensor, steps: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Which motif of the bank (n,) each patch is most like, and in which pose (n, 4)."""
        if not self.moves and not len(self.kinds):
            still = torch.zeros(len(patches), 4, device=patches.device)
            return still[:, 0].long(), still
        motifs = self.known if len(self.known) else self.look(self.bank)
        which, pose, _ = search(patches, motifs, self.frame, self.lattice)
        if not self.moves:
            return which, pose
        found = refine(patches, pose, motifs[which], self.frame, self.prior, variance=self.variance(), steps=steps)
        return which, found.pose

    def encode(self, patches: torch.Tensor, pose: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Codes (n, k) of patches in known poses: mean latents, the most probable class, conditions."""
        features = self.features(patches, pose, condition)
        chosen = None
        if self.classes:
            chosen = F.one_hot(self.to_class(features).argmax(1), self.classes).float()
        mean = self.latents(features, chosen)[0]
        return self.code(mean, mean[:, :0] if chosen is None else chosen, condition)

    def variance(self) -> float:
        """Of the noise of a pixel."""
        return float(self.noise_variance) if self.likelihood == "gaussian" else 0.25

    def latents(self, features: torch.Tensor, chosen: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance (n, d) of the latents, given one-hot classes."""
        given = features if chosen is None else torch.cat([features, chosen], 1)
        mean, log_variance = self.to_latent(given).chunk(2, 1)
        return mean, log_variance.clamp(-12, 4)

    def _terms(self, patches, pose, features, condition, chosen, value=None):
        mean, log_variance = self.latents(features, chosen)
        z = mean
        if self.variational and self.training:
            z = mean + torch.exp(0.5 * log_variance) * self.noise(mean)
        if value is not None:  # what is known is decoded as it is
            z = torch.cat([z[:, :-1], torch.where(value.isnan(), z[:, -1], value)[:, None]], 1)
        code = self.code(z, z[:, :0] if chosen is None else chosen, condition)
        cost, square = self._likelihood(patches, self.picture(code, pose))
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return cost, self._weighed(divergence) * self.variational + self._known_twice(mean, condition), square

    def _known_twice(self, mean: torch.Tensor, condition: torch.Tensor) -> torch.Tensor | float:
        """Squared correlations of latents and conditions in a batch, weighted: the bound alone hardly minds them."""
        if not (self.training and self.condition):
            return 0.0
        z, given = ((one - one.mean(0)) / (one.std(0, correction=0) + 1e-3) for one in (mean, condition))
        return self.weight_of_labels * (z.T @ given / len(z)).square().sum()

    @property
    def beta(self) -> float:
        """Weight of the divergences, at this step of a training."""
        return self.betas[0] + (self.betas[1] - self.betas[0]) * self._ramp()

    def _ramp(self) -> float:
        """From 0 to 1 in the first half of a training; 1 without one."""
        return min(1.0, 2 * self.rounds / self.length) if self.training and self.length else 1.0

    def _weighed(self, divergence: torch.Tensor) -> torch.Tensor:
        if self.capacity is None or not self.training:
            return self.beta * divergence
        excess = divergence - self._ramp() * self.capacity
        return self.beta * excess * torch.sign(excess.mean().detach())  # the gradient of |mean excess|

    def _likelihood(self, patches, picture) -> tuple[torch.Tensor, torch.Tensor]:
        """Negative log likelihood (n,), and the mean squared difference (n,)."""
        if self.likelihood == "bernoulli":
            cost = F.binary_cross_entropy_with_logits(picture, patches, reduction="none").sum((1, 2, 3))
            return cost, torch.zeros_like(cost)
        square = ((patches - picture) ** 2).mean((1, 2, 3))
        variance = self.noise_variance.clone()
        return 0.5 * patches[0].numel() * (square / variance + torch.log(2 * math.pi * variance)), square.detach()

    @torch.no_grad()
    def _watch_noise(self, square: torch.Tensor) -> None:
        """The width that suits best is known: no gradient has to find it."""
        if self.training and self.likelihood == "gaussian":
            self.noise_variance.lerp_(square.mean().clamp(min=1e-6), 0.05)

    def _over_classes(self, patches, pose, features, condition, labels) -> torch.Tensor:
        """Every class in turn, weighted by its probability; the known one alone where there is a label."""
        scores = F.log_softmax(self.to_class(features), 1)
        share = scores.exp()
        given = torch.zeros_like(share[:, 0])
        if labels is not None:
            known = labels >= 0
            truth = F.one_hot(labels.clamp(min=0), self.classes).float()
            share = torch.where(known[:, None], truth, share)  # a class that is known needs no other to be decoded
            given = -self.weight_of_labels * (scores * truth).sum(1) * known
        kinds = torch.eye(self.classes, device=patches.device)
        terms = [self._terms(patches, pose, features, condition, kinds[k].expand(len(patches), -1))
                 for k in range(self.classes)]  # fmt: skip
        cost, divergence, square = (torch.stack(one, 1) for one in zip(*terms, strict=True))
        self._watch_noise((share * square).sum(1))
        entropy = (share * (share.clamp(min=1e-8).log() + math.log(self.classes))).sum(1)
        terms = [(share * cost).sum(1), (share * divergence).sum(1), self.beta * entropy + given]
        return torch.cat([torch.stack(terms, 1), self.latents(features, share)[0]], 1)

    def _amiss(self, features, value: torch.Tensor | None) -> torch.Tensor:
        """How far the encoder is from the quantity where that is known, (n,)."""
        found = self.latents(features, None)[0][:, -1]
        if value is None:
            return torch.zeros_like(found)
        return self.weight_of_labels * 0.5 * torch.where(value.isnan(), 0.0, found - value.nan_to_num()) ** 2

    @property
    def weight_of_labels(self) -> float:
        """Of what the encoder says of known labels, per patch: as much as a tenth of its pixels."""
        return 0.1 * self.shape[0] * self.shape[1]


def _lattice(shape, invariances, max_shift, max_scale, max_angle) -> Lattice:
    shift = tuple(float(s) if n > 1 and "shift" in invariances else 0.0 for s, n in zip(max_shift, shape, strict=True))
    scale = math.log(max_scale) if "scale" in invariances else 0.0
    step = max(SHIFT_STEP, SHARE * min(shape)) if min(shape) > 1 else SHIFT_STEP
    reach = math.pi if max_angle is None else math.radians(max_angle)
    return Lattice("rotation" in invariances, shift, scale, step, reach)
