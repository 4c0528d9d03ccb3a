"""Watch a model for operations that cut the margin of its maps off: convolutions without padding, and slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hdm_widgets.models.errors import is_out_of_memory

__all__ = ["Cuts", "watch_cuts"]


@dataclass(frozen=True)
class Cuts:
    """What cuts the margin off.

    Attributes
    ----------
    unpadded : bool
        Convolutions and poolings leave out more pixels than padding adds.
    sliced : bool
        A slice takes the center of maps.
    seen : bool
        Convolutions were seen at all.
    """

    unpadded: bool = False
    sliced: bool = False
    seen: bool = False

    def __bool__(self) -> bool:
        return self.unpadded or self.sliced


def watch_cuts(run: Callable[[], Any]) -> Cuts:
    """Run a model, and watch its operations in this thread.

    Parameters
    ----------
    run : callable
        Functions, TorchScript and exported programs are seen as well as Modules; what is not computed by torch is not.

    Returns
    -------
    Cuts
        None are found in a model that cannot be watched.
    """
    watcher = _Watcher()
    try:
        with watcher:
            run()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return Cuts()
    return Cuts(unpadded=watcher.missing > 0, sliced=watcher.sliced, seen=watcher.seen)


class _Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of torch, which has no types there
    """Counts the pixels that operations leave out along an axis, less those that paddings add."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.missing = 0
        self.sliced = self.seen = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = str(func).split(".")[1]
        if name == "convolution" and args[0].ndim == 4 and not args[6]:
            self.seen = True
            self.missing += _missing(tuple(args[1].shape[2:]), args[3], args[4], args[5])
        elif name in ("max_pool2d", "max_pool2d_with_indices", "avg_pool2d"):
            kernel = args[1]
            stride = (args[2] if len(args) > 2 else None) or kernel
            self.missing += _missing(kernel, stride, args[3] if len(args) > 3 else (0,), (1,))
        elif name in ("constant_pad_nd", "reflection_pad2d", "replication_pad2d"):
            self.missing -= max(sum(args[1][:2]), sum(args[1][2:4]))
        elif name == "slice":
            self.sliced |= _takes_center(*args)
        return func(*args, **(kwargs or {}))


def _missing(kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> int:
    """Pixels that an operation leaves out along one axis, beyond what its stride explains."""
    axes = range(len(kernel))
    along = [
        dilation[at % len(dilation)] * (kernel[at] - 1)
        - (stride[at % len(stride)] - 1)
        - 2 * padding[at % len(padding)]
        for at in axes
    ]
    return max(0, *along)


def _takes_center(
    values: Tensor, axis: int = 0, start: int | None = None, stop: int | None = None, step: int = 1
) -> bool:
    """Whether a slice leaves out as many rows or columns of maps (N, C, H, W) at their start as at their end."""
    if values.ndim != 4 or axis % 4 < 2:
        return False
    taken = range(*slice(start, stop, step).indices(values.shape[axis]))
    before, after = (taken[0], values.shape[axis] - 1 - taken[-1]) if taken else (0, 0)
    return step == 1 and before > 0 and after > 0 and abs(before - after) <= 1
