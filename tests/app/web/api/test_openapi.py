"""The OpenAPI document describes the service: any request generated from it, valid or not, is
answered as it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.support.processes import ServiceProcess

OPERATIONS = 15  # at least
# The schema does not restrict times, steps and stats, and any query parameter can be text.
_SCHEMA_IS_LOOSE = [positive_data_acceptance, negative_data_rejection]


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Every operation of a running service."""
    service = ServiceProcess(
        tmp_path_factory.mktemp("openapi"), DYNOMETER_PUBLIC_URL="https://metrics.example.com"
    )
    service.start()
    try:
        schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
        valid_operations = [
            result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)
        ]
        yield valid_operations
    finally:
        service.stop()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_any_request_is_answered_as_the_document_says(
    operations: list[Any], mode: GenerationMode
) -> None:
    assert len(operations) > OPERATIONS
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not _takes_anything(operation):
            continue

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=mode))
        def answered(case: Any) -> None:
            case.call_and_validate(excluded_checks=_SCHEMA_IS_LOOSE)

        with suppress(Unsatisfiable):  # no request is invalid for this operation
            answered()


def _takes_anything(operation: Any) -> bool:
    parts = (operation.path_parameters, operation.query, operation.body)
    return any(len(part) for part in parts)
