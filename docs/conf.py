# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""How Sphinx makes the documentation; `make docs` runs it."""

from __future__ import annotations

import inspect
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.ext.autosummary import Autosummary

from airflow_provider_census import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scripts"))

from diagrams import diagram_name  # noqa: E402

# The reference is made of the modules, which import Airflow, which makes itself a home.
os.environ["AIRFLOW_HOME"] = str(HERE / "_build" / "airflow")

project = "airflow-provider-census"
release = version = __version__
project_copyright = "the airflow-provider-census contributors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
pygments_dark_style = "github-dark"  # that of the theme underlines names, as if they were links
html_title = f"{project} {version}"
html_logo = html_favicon = "images/logo.svg"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_js_files = ["tables.js"]
html_copy_source = False
html_show_sourcelink = False

# Headings that links such as `connection.md#proxies` may lead to, named as GitHub names them.
myst_heading_anchors = 3
# What GitHub shows as a picture, a block of the language mermaid.
myst_fence_as_directive = ["mermaid"]

autosummary_generate = False
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


class Mermaid(Directive):
    """A block of the language mermaid, as the picture that `make diagrams` drew of it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Give the picture; without it, the build fails."""
        name = diagram_name("\n".join(self.content))
        drawn = HERE / "images" / "diagrams" / f"{name}.svg"
        if not drawn.is_file():
            raise self.error("There is no picture of this diagram: run `make diagrams`.")
        return [inline(drawn)]


class Summary(Autosummary):
    """A table of what a module defines, or of the methods of a class."""

    required_arguments = 1
    optional_arguments = 100
    final_argument_whitespace = False

    def run(self) -> list[nodes.Node]:
        """Take the names from the code; those behind the first argument are left out."""
        name, *left_out = self.arguments
        prefix, known = members(name)
        names = sorted(each for each in known - set(left_out) if not each.startswith("_"))
        self.content = StringList([f"~{prefix}.{each}" for each in names], source="summary")
        return super().run()


def members(name: str) -> tuple[str, set[str]]:
    """Name what is in a module or in a class, and how it is called from where its summary stands."""
    try:
        module = import_module(name)
    except ModuleNotFoundError:
        path, _, attribute = name.rpartition(".")
        documented = getattr(import_module(path), attribute)
        ours = [base for base in documented.__mro__ if base.__module__.startswith("airflow_provider_census")]
        others: set[str] = set().union(*(dir(base) for base in set(documented.__mro__) - set(ours)))
        own = {each for base in ours for each in vars(base) if callable(getattr(base, each))}
        return attribute, own - others
    kinds = (inspect.isclass, inspect.isfunction)
    return name, {
        each
        for each, thing in vars(module).items()
        if any(kind(thing) for kind in kinds) and thing.__module__ == name
    }


def inline(picture: Path, alt: str = "") -> nodes.Node:
    """Put a picture into the page itself, where the colours of the theme reach it."""
    svg = re.sub(r"<\?xml.*?\?>\s*", "", picture.read_text())
    label = f' role="img" aria-label="{alt}"' if alt else ""
    return nodes.raw("", f'<figure class="diagram"{label}>{svg}</figure>', format="html")


def box_alerts(app: Any, doctree: nodes.document) -> None:
    """
    Make a box of what GitHub shows as one, ``> [!WARNING]``.

    MyST has an extension for it, but not in the last release for Python 3.10.
    """
    for quote in list(doctree.findall(nodes.block_quote)):
        first = quote.next_node(nodes.Text)
        kind = re.fullmatch(r"\[!(\w+)\]\s*", first.splitlines()[0]) if first else None
        if first and kind:
            first.parent.replace(first, nodes.Text(first[kind.end() :].lstrip()))
            quote.replace_self(getattr(nodes, kind[1].lower())("", *quote.children))


def inline_drawings(app: Any, doctree: nodes.document) -> None:
    """Do so with the drawings that scripts/plots.py made."""
    for image in list(doctree.findall(nodes.image)):
        if "/plots/" in image["uri"]:
            image.replace_self(inline(HERE / image["uri"].lstrip("./"), image.get("alt", "")))


def index_symptoms(app: Any, doctree: nodes.document) -> None:
    """
    Make an index entry of every symptom, and of each number in it.

    The search of Sphinx passes over words that are numbers, but finds them among the entries of the index.
    """
    if app.env.docname != "symptoms":
        return
    for section in doctree.findall(nodes.section):
        title = section.next_node(nodes.title)
        if title is None or isinstance(section.parent, nodes.document):
            continue
        words = [title.astext(), *re.findall(r"\b\d{3}\b", title.astext())]
        entries = [("single", word.replace(";", ","), section["ids"][0], "", None) for word in words]
        section.insert(1, addnodes.index(entries=entries))


def readable(app: Any, what: str, name: str, thing: Any, options: Any, signature: Any, returns: Any) -> Any:
    """Write a default that a function makes as ``...``: Sphinx prints what is no Python as it is."""
    return signature and (signature.replace("<factory>", "..."), returns)


def setup(app: Any) -> None:
    """Register what is above with Sphinx."""
    app.add_directive("mermaid", Mermaid)
    app.add_directive("summary", Summary)
    app.connect("doctree-read", box_alerts)
    app.connect("doctree-read", inline_drawings)
    app.connect("doctree-read", index_symptoms)
    app.connect("autodoc-process-signature", readable)
