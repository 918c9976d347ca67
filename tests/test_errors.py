"""The one sentence of an error, wherever it was raised."""

from __future__ import annotations

import pytest
from torch._utils import ExceptionWrapper

from segtron.errors import UnreadableFileError, UserError


@pytest.mark.parametrize("kind", [UserError, UnreadableFileError])
def test_an_error_of_another_process_is_one_sentence(kind: type[UserError]) -> None:
    said = "a.json: 'b' is no class; rename it"
    assert kind(said).sentence == said
    try:
        try:
            raise OSError("broken")
        except OSError as cause:
            raise kind(said) from cause
    except UserError:
        wrapped = ExceptionWrapper(where="in another process")
    with pytest.raises(kind) as caught:
        wrapped.reraise()
    assert "Traceback" in str(caught.value)
    assert caught.value.sentence == said
