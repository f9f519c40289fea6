"""Small modules that only these tests know."""

from __future__ import annotations

import torch


class Small(torch.nn.Module):
    """A convolution with a batch norm: parameters, buffers and an integer buffer."""

    def __init__(self, width=3, classes=2):
        super().__init__()
        self.first = torch.nn.Conv2d(1, width, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(width)
        self.last = torch.nn.Conv2d(width, classes, 1)

    def forward(self, image):
        return self.last(torch.relu(self.norm(self.first(image))))


class Table(torch.nn.Module):
    """Makes a buffer that no file holds."""

    def __init__(self, length=5):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.randn(length))
        self.register_buffer("ramp", torch.arange(length, dtype=torch.float32), persistent=False)

    def forward(self, x):
        return x * self.scale + self.ramp


def trained(width=3, seed=0):
    """A Small whose every number has moved from its start."""
    generator = torch.Generator().manual_seed(seed)
    module = Small(width)
    with torch.no_grad():
        for tensor in [*module.parameters(), module.norm.running_mean]:
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
        module.norm.running_var.fill_(2.5)
        module.norm.num_batches_tracked.fill_(41)
    return module.eval()
