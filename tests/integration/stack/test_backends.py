"""The backends of the local stack are real: they answer, and what they hold survives what a test can do to them."""

from __future__ import annotations

import pytest

from tests.backends import RealBackends
from tools.stack.etcd import probe_etcd
from tools.stack.kafka import probe_kafka
from tools.stack.mongodb import probe_mongodb

pytestmark = pytest.mark.integration


async def test_each_backend_answers_at_the_address_that_is_given_out(real_backends: RealBackends) -> None:
    await probe_etcd(real_backends.etcd)
    await probe_kafka(real_backends.kafka)
    await probe_mongodb(real_backends.mongodb)
