from __future__ import annotations

import pytest
import torch
from detectron2.modeling.postprocessing import sem_seg_postprocess

from segtron.modeling.output_size import to_output_size


@pytest.mark.parametrize("size", [(30, 45), (32, 64), (60, 90), (17, 20), (1, 1)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_values_are_detectron2s(size: tuple[int, int], channels_last: bool) -> None:
    prediction = torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    if channels_last:
        prediction = prediction.to(memory_format=torch.channels_last)
    found = to_output_size(prediction[0], (30, 45), *size)
    assert torch.equal(found, sem_seg_postprocess(prediction[0].contiguous(), (30, 45), *size))


def test_nothing_is_copied_where_the_size_stays() -> None:
    prediction = torch.randn(3, 32, 64)
    assert to_output_size(prediction, (30, 45), 30, 45).data_ptr() == prediction.data_ptr()
