"""The GPUs of a machine, with NVML's answers in place of a driver's."""

from __future__ import annotations

import pynvml
import pytest
from tokenwire.server.machine.gpus import Gpu, describe_gpus, visible_gpus

from .nvml import answer_as

GIB = 1 << 30
UUID = "GPU-8f6c"


H100 = Gpu("0", "NVIDIA H100 80GB HBM3", 80 * GIB, 70 * GIB)
H200 = Gpu("1", "NVIDIA H200", 141 * GIB, 131 * GIB)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an H100 and an H200."""
    answer_as(monkeypatch, [H100, H200], {UUID: 1})


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, (H100, H200)),
        ({"CUDA_VISIBLE_DEVICES": "1"}, (H200,)),
        ({"CUDA_VISIBLE_DEVICES": "1, 0"}, (H200, H100)),
        (
            {"CUDA_VISIBLE_DEVICES": UUID},
            (Gpu(UUID, H200.name, H200.total_bytes, H200.free_bytes),),
        ),
        ({"CUDA_VISIBLE_DEVICES": "0,7,1"}, (H100,)),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ({"CUDA_VISIBLE_DEVICES": " "}, ()),
        ({"CUDA_VISIBLE_DEVICES": "all"}, ()),
    ],
)
def test_what_a_program_would_see(environment: dict[str, str], found: tuple[Gpu, ...]) -> None:
    """As CUDA does: in the order given, up to the first one that is not there."""
    assert visible_gpus(environment) == found


def test_no_driver_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without NVML has no GPU, whatever the environment says."""

    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0"}) == ()


def test_gpus_in_one_line() -> None:
    """Equal ones are counted."""
    assert describe_gpus([]) == "no NVIDIA GPU"
    assert describe_gpus([H100, H200, H100]) == "2 x NVIDIA H100 80GB HBM3, NVIDIA H200"
