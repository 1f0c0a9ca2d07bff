"""How tests ask their teacher."""

import pytest
from tests.data.synthesis.teaching import Teacher

from selftune.data.synthesis.run import Asking, Means
from selftune.models.asking import Limits
from selftune.models.endpoint import Endpoint


@pytest.fixture
def asking(teacher: Teacher) -> Asking:
    return Asking(endpoint=Endpoint(model="wise", base_url=teacher.url), max_tokens=100)


@pytest.fixture
def means() -> Means:
    return Means(limits=Limits(first_wait_seconds=0.01), poll_seconds=0.0)
