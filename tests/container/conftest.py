"""What every test of the image needs: an engine that answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.container import engine


@pytest.fixture(scope="session", autouse=True)
def _engine() -> Iterator[None]:
    with engine.answering():
        yield
