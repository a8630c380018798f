# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
Write the tables of parameters in docs anew, from the docstrings; a test tells when that was forgotten.

A table stands between ``<!-- parameters of module.Class -->`` and ``<!-- end of parameters -->``.
"""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
TABLE = re.compile(r"(<!-- parameters of (\S+) -->\n).*?(<!-- end of parameters -->)", re.DOTALL)

SEE = {
    "if_running": "[A sync that is already running](operators.md#a-sync-that-is-already-running)",
    "durable": "[Crash recovery and retries](faults.md#crash-recovery-and-retries)",
    "poll_interval": "[Polling interval](performance.md#polling-interval)",
    "poke_interval": "[Polling interval](performance.md#polling-interval)",
    "hook_params": "[Hook parameters](operators.md#hook-parameters)",
    "log_rejected_records": "[Rejected records](logs.md#rejected-records)",
}
"""Where a parameter has more room than in its docstring."""


def main() -> None:
    for page in DOCS.glob("*.md"):
        text = page.read_text()
        if (written := with_tables(text, page.name)) != text:
            page.write_text(written)
            print(f"{page.name}: written anew")


def with_tables(text: str, page: str) -> str:
    """Give a page with all of its tables as they should be."""
    return TABLE.sub(lambda found: f"{found[1]}{table(found[2], page)}\n{found[3]}", text)


def table(name: str, page: str) -> str:
    """Make the table of a class or a function."""
    module, _, attribute = name.rpartition(".")
    documented = getattr(import_module(module), attribute)
    signature = inspect.signature(documented)
    templated = getattr(documented, "template_fields", ())
    lines = ["| Parameter | Default | Meaning |", "| --- | --- | --- |"]
    for parameter, text in parameters(inspect.getdoc(documented) or ""):
        default = shown(parameter, signature.parameters[parameter].default)
        # Airflow has a `label` of its own.
        is_templated = parameter in templated or f"sync_{parameter}" in templated
        see = "" if attribute == "watched_sync_asset" else SEE.get(parameter, "")
        see = see.replace(f"]({page}#", "](#")
        meaning = " ".join(filter(None, [text, see and f"See {see}.", "Templated." if is_templated else ""]))
        lines.append(f"| `{parameter}` | {default} | {meaning} |")
    return "\n".join(lines)


def parameters(docstring: str) -> list[tuple[str, str]]:
    """Read the fields of a docstring, each as one sentence in Markdown."""
    fields = re.findall(r"^:param (\w+):(.*?)(?=^:|\Z)", docstring, re.DOTALL | re.MULTILINE)
    return [(name, sentence(text)) for name, text in fields if name != "arguments"]


def sentence(text: str) -> str:
    text = re.sub(r":\w+:`~?[\w.]*?(\w+)`", r"`\1`", " ".join(text.split()))
    text = re.sub(r" \(templated(?:: ([^)]*))?\)", lambda found: f" ({found[1]})" if found[1] else "", text)
    text = text.replace("``", "`").replace("|", "\\|")
    return text[0].upper() + text[1:].rstrip(".") + "."


def shown(name: str, default: Any) -> str:
    if name == "deferrable":
        return "`[operators] default_deferrable`"
    if default is inspect.Parameter.empty:
        return "required"
    if isinstance(default, timedelta):
        return f"{default.days} days"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


if __name__ == "__main__":
    main()
