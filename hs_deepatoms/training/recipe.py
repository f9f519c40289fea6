"""Everything that decides the weights of a training but the network, the data and the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from hs_deepatoms._core.described import described
from hs_deepatoms._core.errors import InvalidArgumentError, explain
from hs_deepatoms.training.perturbation import Perturbation
from hs_deepatoms.training.schedules import SCHEDULES

AVERAGINGS = ("ema", "swa", None)
COUNTS = ("steps", "checkpoint_every", "validate_every", "patience")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Parameters
    ----------
    steps : int
        Length of the schedule, in batches.
    learning_rate : float
        Largest learning rate.
    schedule : str, sequence of float, or callable
        One of :data:`~hs_deepatoms.training.schedules.SCHEDULES`; or factors of the learning rate, in turn for equal
        parts of the training; or a function from the share of the training that is done (0 to 1) to such a factor.
    optimizer : callable, optional
        From the list of parameters to a ``torch.optim.Optimizer``. By default AdamW (Loshchilov & Hutter,
        arXiv:1711.05101).
    weight_decay : float
        Of AdamW.
    gradient_clip : float or None
        Largest norm of the gradient (Pascanu et al., ICML 2013, arXiv:1211.5063).
    averaging : {"ema", "swa", None}
        Which average of the weights is the result: an exponential moving one, or the plain mean over the last part of
        the training (stochastic weight averaging, Izmailov et al., UAI 2018, arXiv:1803.05407), whose batch-norm
        statistics are then measured on training batches.
    ema_decay : float
        Decay of the moving average, reached gradually so that short trainings forget their start.
    swa_from : float
        Share of the training after which the mean begins; the learning rate no longer falls from there on.
    perturbation : Perturbation, optional
        Noise on the weights that fades with time.
    mixed_precision : bool
        bfloat16 (float16 with scaled gradients on GPUs without it); on processors that have no arithmetic for it,
        single precision, which is faster there.
    validate_every : int, optional
        Steps between validations; by default twenty validations in all.
    patience : int, optional
        Validations without a better one after which the training stops.
    checkpoint_every : int
        Steps between checkpoints.
    minutes : float, optional
        Wall-clock limit: the schedule is then driven by the time used, so that it always runs to its end. The weights
        then depend on the machine's speed.
    seed : int
        Of dropout and perturbation.

    Raises
    ------
    InvalidArgumentError
        A value outside what is allowed.

    Examples
    --------
    >>> Recipe(steps=200, averaging="swa").learning_rate
    0.002
    """

    steps: int = 1000
    learning_rate: float = 2e-3
    schedule: str | Sequence[float] | Callable[[float], float] = "one_cycle"
    optimizer: Callable | None = None
    weight_decay: float = 1e-4
    gradient_clip: float | None = 5.0
    averaging: str | None = "ema"
    ema_decay: float = 0.998
    swa_from: float = 0.75
    perturbation: Perturbation | None = None
    mixed_precision: bool = False
    validate_every: int | None = None
    patience: int | None = None
    checkpoint_every: int = 500
    minutes: float | None = None
    seed: int = 0

    def __post_init__(self):
        positive = {"steps": self.steps, "learning_rate": self.learning_rate, "checkpoint_every": self.checkpoint_every}
        optional = {"gradient_clip": self.gradient_clip, "validate_every": self.validate_every,
                    "patience": self.patience, "minutes": self.minutes}  # fmt: skip
        for name, value in {**positive, **{k: v for k, v in optional.items() if v is not None}}.items():
            kind, what = (Integral, "a whole number") if name in COUNTS else (Real, "a number")
            if not isinstance(value, kind) or isinstance(value, bool) or not value > 0:
                raise _refused(name, value, f"{what} above 0")
        if self.averaging not in AVERAGINGS:
            raise _refused("averaging", self.averaging, "'ema', 'swa' or None")
        for name, value in (("ema_decay", self.ema_decay), ("swa_from", self.swa_from)):
            if not isinstance(value, Real) or not 0 <= value < 1:
                raise _refused(name, value, "at least 0 and less than 1")
        if isinstance(self.schedule, str) and self.schedule not in SCHEDULES:
            raise _refused("schedule", self.schedule, f"one of {sorted(SCHEDULES)}, factors, or a function")

    @property
    def validation_interval(self) -> int:
        """Steps between validations."""
        return self.validate_every or max(1, self.steps // 20)

    def as_dict(self) -> dict:
        """What a resumed training must have in common, as plain JSON."""
        plain = {k: v for k, v in vars(self).items() if isinstance(v, int | float | str | type(None))}
        return {**plain, **{k: described(v) for k, v in vars(self).items() if k not in plain}}


def _refused(name: str, value, allowed: str) -> InvalidArgumentError:
    return InvalidArgumentError(explain(f"{name}={value!r}", allowed, "Choose another value."))
