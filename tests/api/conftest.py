# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""Settings of hypothesis: how long an example takes says nothing."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("census", deadline=None)
settings.load_profile("census")
