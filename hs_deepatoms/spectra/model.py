"""The trained model: networks, how their input is scaled, and how their output becomes a map again."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hs_deepatoms.spectra.network import PairNet

STRIP = 2**18  # output pixels times channels of a hidden layer that are computed together
DRAWS = 16  # of the latents of a variational encoder


class PairModel(nn.Module):
    """Members of an ensemble with the scaling of input and targets.

    Parameters
    ----------
    net : dict
        Arguments of every member's :class:`PairNet`.
    members : int
    outputs : int
        Targets.

    Attributes
    ----------
    centre, width : Tensor, shape (channels,)
        Of the input, which is ``(map - centre) / width``.
    target_centre, target_width : Tensor, shape (outputs,)
    basis : Tensor, shape (latent_dim, latent_dim + 1)
        Rotates the latents of the first member so that they are uncorrelated, with standard deviation 1, the one that
        changes the targets most first; the last column is their mean.
    stretch, inflation : Tensor, shape (outputs,)
        Power that the standard deviations (of scaled targets) are raised to, and what they are then multiplied with,
        from held-out blocks.
    correlation : Tensor, shape (outputs, outputs)
        A square root of the correlation of the errors of the targets.
    told : Tensor, shape (outputs,)
        1, or 0 for targets of which the input says nothing: these are ``target_centre``, with ``inflation`` as their
        standard deviation in units of ``target_width``.
    """

    def __init__(self, net: dict, members: int, outputs: int):
        super().__init__()
        self.config = {"net": dict(net), "members": members, "outputs": outputs}
        self.nets = nn.ModuleList(PairNet(**net) for _ in range(members))
        channels, d = net["channels"], net["latent_dim"]
        for name, value in (("centre", torch.zeros(channels)), ("width", torch.ones(channels)),
                            ("target_centre", torch.zeros(outputs)), ("target_width", torch.ones(outputs)),
                            ("basis", torch.eye(d, d + 1)), ("stretch", torch.ones(outputs)),
                            ("inflation", torch.ones(outputs)), ("correlation", torch.eye(outputs)),
                            ("told", torch.ones(outputs))):  # fmt: skip
            self.register_buffer(name, value)

    @property
    def window(self) -> int:
        """Side of the window, pixels of the input."""
        return self.config["net"]["window"]

    @property
    def step(self) -> int:
        """Input pixels per output pixel."""
        return self.config["net"]["step"]

    @property
    def outputs(self) -> int:
        """Number of targets."""
        return self.config["outputs"]

    @property
    def spectrum(self) -> int:
        """Channels of the spectra that are decoded whole; 0: none."""
        return sum(self.lengths)

    @property
    def lengths(self) -> list[int]:
        """The same of each spectrum, where there are such."""
        found = self.config["net"]["spectrum"]
        return [found] if isinstance(found, int) else list(found)

    def scaled(self, image: torch.Tensor) -> torch.Tensor:
        """Input (n, c, H, W) as the networks take it."""
        return (image - self.centre[:, None, None]) / self.width[:, None, None]

    @torch.inference_mode()
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Means and standard deviations, and log shares of a spectrum: (n, 2 * outputs + spectrum, h, w).

        The deviation is what the input leaves open and, with several members, what they differ by; calibrated.
        """
        k = self.outputs
        image = self.scaled(image)
        means, squares, variances, spectrum = 0.0, 0.0, 0.0, 0.0
        for net in self.nets:
            out = net.decode(net.latents(image))
            mean, log = out[:, :k], out[:, k : 2 * k]
            extra = self._drawn(net, image, mean) if net.variational else 0.0
            means, squares, variances = means + mean, squares + mean**2, variances + log.exp() + extra
            spectrum = spectrum + out[:, 2 * k :]
        n = len(self.nets)
        mean = means / n
        told = self.told[:, None, None] > 0
        variance = torch.where(told, variances / n + (squares / n - mean**2).clamp(min=0), 1.0)
        deviation = variance ** (self.stretch[:, None, None] / 2) * self.inflation[:, None, None]
        mean = torch.where(told, mean, 0.0)
        width, centre = self.target_width[:, None, None], self.target_centre[:, None, None]
        return torch.cat([mean * width + centre, deviation * width, spectrum / n], 1)

    def _drawn(self, net: PairNet, image: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        """Variance of the means over draws of the latents."""
        z, width = net.latents(image), net.deviations(image)
        generator = torch.Generator().manual_seed(0)
        total = torch.zeros_like(mean)
        for _ in range(DRAWS):
            shift = torch.randn(z.shape[1], generator=generator).to(z)[:, None, None]
            total += (net.decode(z + width * shift)[:, : mean.shape[1]] - mean) ** 2
        return total / DRAWS

    @torch.inference_mode()
    def latents(self, image: torch.Tensor) -> torch.Tensor:
        """Latents (n, d, h, w) of the first member, rotated."""
        z = self.nets[0].latents(self.scaled(image))
        return torch.einsum("ij,njhw->nihw", self.basis[:, :-1], z - self.basis_mean[:, None, None])

    @property
    def basis_mean(self) -> torch.Tensor:
        """Mean of the latents before they are rotated."""
        return self.basis[:, -1]

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Targets and log shares (n, outputs + spectrum) of rotated latents (n, d), by the first member."""
        z = torch.linalg.solve(self.basis[:, :-1], latents.T).T + self.basis_mean
        out = self.nets[0].decode(z[:, :, None, None])[..., 0, 0]
        k = self.outputs
        return torch.cat([out[:, :k] * self.told * self.target_width + self.target_centre, out[:, 2 * k :]], 1)


def applied(model: PairModel, image: np.ndarray, *, what: str = "forward", device: str = "cpu") -> np.ndarray:
    """A model on a padded map (c, (h - 1) * step + window, ...), strip by strip.

    Returns
    -------
    numpy.ndarray, float32, shape (k, h, w)
    """
    s, w = model.step, model.window
    ny, nx = ((n - w) // s + 1 for n in image.shape[1:])
    rows = max(1, STRIP * 8 // (nx * s * s * model.config["net"]["width"] * (1 + model.spectrum // 64)))
    parts = []
    for y in range(0, ny, rows):
        stop = min(y + rows, ny)
        part = torch.from_numpy(np.ascontiguousarray(image[:, y * s : (stop - 1) * s + w], np.float32))
        parts.append(getattr(model, what)(part[None].to(device))[0].cpu().numpy())
    return np.concatenate(parts, 1)


def rotate_latents(model: PairModel, image: np.ndarray, use: np.ndarray, device: str = "cpu") -> None:
    """Choose the basis: latents uncorrelated over the pixels used, ordered by how much they change the targets."""
    d = model.config["net"]["latent_dim"]
    model.basis.copy_(torch.eye(d, d + 1))
    raw = applied(model, image, what="latents", device=device).reshape(d, -1)[:, use.ravel()].astype(float)
    mean, covariance = raw.mean(1), np.atleast_2d(np.cov(raw))
    values, axes = np.linalg.eigh(covariance + 1e-9 * np.trace(covariance) * np.eye(d) / d)
    white = axes / np.sqrt(values)  # raw - mean = axes sqrt(values) z
    some = torch.from_numpy((raw[:, :: max(1, raw.shape[1] // 2000)]).T.astype(np.float32)).to(device)
    gain = _sensitivity(model, some) @ (axes * np.sqrt(values))
    turn = np.linalg.eigh(gain.T @ gain)[1].T[::-1]  # the direction that changes the targets most first
    rotation = turn @ white.T
    rotation = rotation * np.where(np.take_along_axis(rotation, np.abs(rotation).argmax(1)[:, None], 1) < 0, -1, 1)
    model.basis.copy_(torch.from_numpy(np.column_stack([rotation, mean]).astype(np.float32)))


def _sensitivity(model: PairModel, z: torch.Tensor) -> np.ndarray:
    """Mean change of the targets with the latents, (n * outputs, d) of finite differences in the raw latents."""
    net, parts = model.nets[0], []
    spread = z.std(0) if len(z) > 1 else torch.ones_like(z[0])
    with torch.inference_mode():
        for j in range(z.shape[1]):
            h = 0.05 * float(spread[j]) + 1e-6
            moved = z.clone()
            moved[:, j] += h
            pair = [net.decode(one[:, :, None, None])[:, : model.outputs, 0, 0] for one in (moved, z)]
            parts.append(((pair[0] - pair[1]) / h).flatten().cpu().numpy())
    return np.stack(parts, 1).astype(float)


class Arrays(nn.Module):
    """Arrays that belong to a model, kept in its file.

    Parameters
    ----------
    layout : dict
        name -> (shape, name of the torch dtype).
    """

    def __init__(self, layout: dict):
        super().__init__()
        self.config = {"layout": {name: [list(shape), kind] for name, (shape, kind) in layout.items()}}
        for name, (shape, kind) in layout.items():
            self.register_buffer(name, torch.zeros(list(shape), dtype=getattr(torch, kind)))

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> Arrays:
        """From named arrays."""
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
        made = cls({name: (tuple(one.shape), str(one.dtype).removeprefix("torch.")) for name, one in tensors.items()})
        made.load_state_dict(tensors)
        return made

    def as_dict(self) -> dict[str, np.ndarray]:
        """The named arrays."""
        return {name: tensor.numpy() for name, tensor in self.named_buffers()}
