# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""What tests of tasks share."""

from task_fixtures import *  # noqa: F403 - fixtures are found by their names here
