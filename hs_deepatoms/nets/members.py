"""Several networks of one architecture that are used as one."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.nets.catalogue import make_net

STACKED_BYTES = 2**29  # of the members' widest layers together, up to which they run as one
TINY = 1e-6  # probabilities nearer to 0 or 1 have no finite logit in float32


class Members(nn.Module):
    """The members of an ensemble as one network, whose probability is the mean of theirs.

    Parameters
    ----------
    net : str
        Name of the members' network; see :data:`~hs_deepatoms.nets.catalogue.NETS`.
    n : int
        Number of members.
    exclusive : bool
        Whether channel 0 is the background (softmax), or channels are independent (sigmoid).
    options : mapping, optional
        Arguments of the network.
    seed : int
        Of the initial weights; every member gets others.

    Attributes
    ----------
    nets : torch.nn.ModuleList
        The members; :meth:`of` takes ready ones.
    multiple, halo : int or None
        Those of the members.

    Raises
    ------
    InvalidArgumentError
        No member; a network that cannot be built.

    Notes
    -----
    Input (n, 1, h, w), float; output (n, channels, h, w): logits of the mean probability (Lakshminarayanan et al.,
    NeurIPS 2017, arXiv:1612.01474). :meth:`each` gives every member's own logits.

    Examples
    --------
    >>> import torch
    >>> from hs_deepatoms.nets.members import Members
    >>> net = Members("unet", 3, options={"filters": 4, "depth": 1})
    >>> image = torch.zeros(2, 1, 20, 30)
    >>> net(image).shape, net.each(image).shape
    (torch.Size([2, 1, 20, 30]), torch.Size([3, 2, 1, 20, 30]))
    """

    def __init__(self, net: str, n: int, *, exclusive: bool = False, options: dict | None = None, seed: int = 0):
        super().__init__()
        self._fill([make_net(net, seed=seed + k, **(options or {})) for k in range(n)], exclusive, True)

    @classmethod
    def of(cls, nets: Sequence[nn.Module], *, exclusive: bool, stackable: bool = True) -> Members:
        """From ready networks; ``stackable`` says whether torch.func may run them as one."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._fill(nets, exclusive, stackable)
        return made

    def _fill(self, nets: Sequence[nn.Module], exclusive: bool, stackable: bool) -> None:
        if not nets:
            raise InvalidArgumentError(explain("an ensemble of no members", "one or more", "Give members=5."))
        self.nets = nn.ModuleList(nets)
        self.exclusive, self.stackable = bool(exclusive), bool(stackable)
        for name in ("multiple", "halo"):
            if hasattr(nets[0], name):
                setattr(self, name, getattr(nets[0], name))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = self.each(image).float()
        if self.exclusive:
            return torch.logsumexp(torch.log_softmax(logits, 2), 0)  # softmax does not see the factor 1/n
        return torch.logit(torch.sigmoid(logits).mean(0), TINY)

    def each(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of every member, shape (members, n, channels, h, w)."""
        if self.training or not self._fits(image):
            return torch.stack([net(image) for net in self.nets])
        # one large convolution instead of many small ones: what keeps a GPU busy
        states = stack_module_state(list(self.nets))
        base = self.nets[0]

        def one(parameters, buffers):
            return functional_call(base, (parameters, buffers), (image,))

        return vmap(one)(*states)

    def _fits(self, image: torch.Tensor) -> bool:
        """Whether running all members at once pays (not on a CPU, where it is a tenth slower) and fits."""
        if not self.stackable or image.device.type == "cpu" or len(self.nets) == 1:
            return False
        first = next((m for m in self.nets[0].modules() if isinstance(m, nn.Conv2d)), None)
        width = 1 if first is None else first.out_channels
        return 4 * image.numel() * width * len(self.nets) <= STACKED_BYTES

    def copies(self) -> list[nn.Module]:
        """Every member as a network of its own."""
        return [copy.deepcopy(net) for net in self.nets]
