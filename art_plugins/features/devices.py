"""The device that trains a network, and the number formats that it computes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from art_plugins.parameters import check_choice

if TYPE_CHECKING:
    from lightning.fabric import Fabric

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true")
MIXED = "bf16-mixed"
PASS_PRECISIONS = ("32-true", MIXED)  # of a pass through a trained network


def make_fabric(precision: str = "32-true") -> Fabric:
    """
    One device: the first accelerator that is there, else the CPU.

    :param precision: One of ``PRECISIONS``. A processor that would only imitate bfloat16 computes mixed formats in 32 bits.
    :raises InvalidInputError: For an unknown precision.
    """
    from lightning.fabric import Fabric  # it takes a second, and who trains nothing has no use for it

    check_choice("precision", precision, PRECISIONS)
    # On a CPU, Lightning computes "16-mixed" in bfloat16 too.
    if precision in ("16-mixed", MIXED) and not computes_mixed(MIXED, first_device()):
        precision = "32-true"
    return Fabric(accelerator="auto", devices=1, precision=precision)  # type: ignore[arg-type]


def first_device() -> torch.device:
    """Give the device that :func:`make_fabric` chooses, without the seconds that the import of Lightning takes."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def in_double(values: torch.Tensor) -> torch.Tensor:
    """Give numbers of 64 bits, on the CPU where the accelerator has none (Apple's)."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def computes_mixed(precision: str, device: torch.device) -> bool:
    """
    Whether a device computes in bfloat16 where that is asked for.

    A processor without instructions for it imitates bfloat16. That takes several times as long as 32 bits, and the results
    are less exact. So such a processor computes in 32 bits.

    :param precision: Name of a number format; only ``"bf16-mixed"`` asks for it.
    :param device: The device that computes.
    :return: ``False`` means that it computes in 32 bits.
    """
    return precision == MIXED and (device.type != "cpu" or processor_has_bfloat16())


def processor_has_bfloat16() -> bool:
    """Whether oneDNN, the library that PyTorch computes with on a CPU, has bfloat16 on this processor."""
    is_supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return is_supported is None or bool(is_supported())
