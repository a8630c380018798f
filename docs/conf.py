# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""How Sphinx makes the documentation; `make docs` runs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow_provider_census import __version__

# The reference is made of the modules, which import Airflow, which makes itself a home.
os.environ["AIRFLOW_HOME"] = str(Path(__file__).parent / "_build" / "airflow")

project = "airflow-provider-census"
release = version = __version__
project_copyright = "the airflow-provider-census contributors"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {version}"

# Headings that links such as `connection.md#proxies` may lead to, named as GitHub names them.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 100

# Every reference must lead somewhere, but only ours can: what others document is on their own sites, and a
# build asks no network. What is ours and inside has no page either.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!airflow_provider_census\b).*"),
    ("py:.*", r"airflow_provider_census\.api\.versions\b.*"),
    ("py:class", r"airflow_provider_census\.api\.request\.Id"),
    ("py:class", r"airflow_provider_census\.api\.triggering\.RunsSnapshot"),
    ("py:class", r".*\.T"),
]


def readable(app: Any, what: str, name: str, thing: Any, options: Any, signature: Any, returns: Any) -> Any:
    """Write a default that a function makes as ``...``: Sphinx prints what is no Python as it is."""
    return signature and (signature.replace("<factory>", "..."), returns)


def setup(app: Any) -> None:
    """Register what is above with Sphinx."""
    app.connect("autodoc-process-signature", readable)
