# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""The connection form of Airflow before 3.2; from then on, Airflow reads ``get_provider_info``."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_census.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR


def field_behaviour() -> dict[str, Any]:
    """Describe what the form does with the fields that every connection has."""
    return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}


def widgets() -> dict[str, Any]:
    """Make the extra fields of the form."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from wtforms import IntegerField, StringField
    from wtforms.validators import Optional, any_of

    kinds = {"integer": IntegerField, "string": StringField}

    def field(label: str, description: str, schema: dict[str, Any]) -> Any:
        default = schema["default"]
        return kinds[schema["type"][0]](
            label,
            widget=BS3TextFieldWidget(),
            description=description,
            # Airflow 3 makes the form of what is JSON alone.
            default=default if AIRFLOW_V_3_0_PLUS else lambda: None if _is_edited() else default,
            # Without the first of them, an emptied number could not be saved.
            validators=[Optional(), *([any_of(schema["enum"])] if "enum" in schema else [])],
        )

    return {name: field(**described) for name, described in CONN_FIELDS.items()}


def _is_edited() -> bool:
    """
    Tell whether the form is for a connection that there is.

    What such a connection does not say, its form leaves empty: else to change its description would change
    the version of the API that it speaks, too.
    """
    from flask import has_request_context, request

    return has_request_context() and "pk" in (request.view_args or {})
