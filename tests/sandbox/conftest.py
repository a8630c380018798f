# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the sandbox share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from staging import Caller, Stage

from airflow_provider_census.sandbox import Sandbox
from airflow_provider_census.sandbox.server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator


# Not for the session: tests of other folders replace `asyncio.sleep`, which a server in a thread calls too.
@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage()
    with serving(stage, "127.0.0.1", 0) as stage.port:
        yield stage


@pytest.fixture
def census(stage: Stage) -> Caller:
    return stage.caller()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(strict=True) as sandbox:
        yield sandbox


@pytest.fixture(params=["v1", "v2"])
def either(request: pytest.FixtureRequest, census: Caller) -> Caller:
    return census.through(request.param)


@pytest.fixture
def v2(census: Caller) -> Caller:
    return census.through("v2")
