"""Training steps per second: this library's loop, a bare torch loop, and AtomAI's, same layers, batch and images.

    python benchmarks/training.py [--size 128] [--batch 8] [--steps 20] [--pairs 3] [--device cpu] \
        [--atomai PYTHON] [--json FILE]

``--atomai`` is the Python of an environment that has AtomAI; it runs in a process of its own. Machines drift, so runs
alternate and the figures are medians of the ratios inside the pairs, by the clock and, for machines with other work, by
CPU time.

* ``validated``: a validation batch after every step, as AtomAI does it; moving average and gradient clipping on;
* ``plain``: no validation, against a bare loop of the same network, optimiser, loss and resident batches.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from itertools import cycle, islice
from statistics import median

import numpy as np
import torch

from hs_deepatoms.nets.catalogue import make_net
from hs_deepatoms.training.fit import fit
from hs_deepatoms.training.pixel_losses import choose_loss
from hs_deepatoms.training.recipe import Recipe

UNET = {"filters": 16, "depth": 3, "layers": (1, 2, 2, 3)}  # AtomAI's default layers

ATOMAI = """
import sys, time, io, contextlib, numpy as np, torch
size, batch, steps, threads = map(int, sys.argv[1:5])
torch.set_num_threads(threads)
with contextlib.redirect_stdout(io.StringIO()):
    import atomai as aoi
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4 * batch, 1, size, size)).astype(np.float32)
    y = (x > 0.5).astype(np.float32)
    model = aoi.models.Segmentor("Unet", nb_classes=1, nb_filters=16)
    options = dict(batch_size=batch, plot_training_history=False, print_loss=10**6, filename=sys.argv[5])
    model.fit(x, y, x[:batch], y[:batch], training_cycles=2, **options)
    begun, cpu = time.perf_counter(), time.process_time()
    model.fit(x, y, x[:batch], y[:batch], training_cycles=steps, **options)
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
print(steps / took, steps / cpu)
"""


def data(size: int, batch: int, device: str):
    """Four batches of images and labels, on the device."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(4 * batch, 1, size, size)).astype(np.float32)
    pairs = zip(*(torch.from_numpy(a).to(device).split(batch) for a in (images, (images > 0.5).astype(np.float32))),
                strict=True)  # fmt: skip
    return list(pairs)


def ours(options, batches, validated: bool) -> tuple[float, float]:
    """Steps per second of the trainer, by the clock and by CPU time."""
    net, loss = make_net("unet", **UNET), choose_loss("cross_entropy")
    recipe = Recipe(steps=options.steps, validate_every=1 if validated else None)
    begun, cpu = time.perf_counter(), time.process_time()
    fit(net, islice(cycle(batches), options.steps), loss, recipe, validation=batches[:1] if validated else None,
        device=options.device, show_progressbar=False)  # fmt: skip
    wait(options.device)
    return options.steps / (time.perf_counter() - begun), options.steps / (time.process_time() - cpu)


def bare(options, batches) -> tuple[float, float]:
    """Steps per second of a loop that does nothing else."""
    net = make_net("unet", **UNET).to(options.device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    begun, cpu = time.perf_counter(), time.process_time()
    for image, target in islice(cycle(batches), options.steps):
        out = net(image.contiguous(memory_format=torch.channels_last))
        value = torch.nn.functional.binary_cross_entropy_with_logits(out, target)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
    wait(options.device)
    return options.steps / (time.perf_counter() - begun), options.steps / (time.process_time() - cpu)


def atomai(options) -> tuple[float, float]:
    """Steps per second of AtomAI, in its own environment."""
    numbers = [str(n) for n in (options.size, options.batch, options.steps, torch.get_num_threads())]
    command = [options.atomai, "-c", ATOMAI, *numbers, options.scratch]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"AtomAI failed:\n{done.stderr[-2000:]}")
    return tuple(map(float, done.stdout.split()[-2:]))


def wait(device: str) -> None:
    """Until the device has done what it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def paired(one, other, pairs: int) -> dict[str, float]:
    """Median speeds, and the median ratio one / other of runs in alternating order."""
    found = []
    for number in range(pairs):
        speeds = {run: run() for run in ((one, other) if number % 2 else (other, one))}
        found.append((speeds[one], speeds[other]))
    return {
        "ours": median(a[0] for a, _ in found),
        "other": median(b[0] for _, b in found),
        "ratio": median(a[0] / b[0] for a, b in found),
        "cpu_ratio": median(a[1] / b[1] for a, b in found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--atomai", help="Python of an environment with AtomAI")
    parser.add_argument("--scratch", default="/tmp/atomai_benchmark", help="where AtomAI writes its weights")
    parser.add_argument("--json")
    options = parser.parse_args()
    batches = data(options.size, options.batch, options.device)
    ours(argparse.Namespace(**{**vars(options), "steps": 2}), batches, True)  # warm
    alone = paired(lambda: ours(options, batches, False), lambda: bare(options, batches), options.pairs)
    results = {"bare loop": alone}
    if options.atomai:
        results["AtomAI"] = paired(lambda: ours(options, batches, True), lambda: atomai(options), options.pairs)
    for name, found in results.items():
        print(f"{name:10s} ours {found['ours']:.2f} steps/s, it {found['other']:.2f}: ratio {found['ratio']:.2f}, "
              f"per CPU second {found['cpu_ratio']:.2f}")  # fmt: skip
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"options": vars(options), "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
