# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
Draw the Mermaid diagrams of the docs, for the site; GitHub draws them itself.

A picture is named by the text of its diagram. It needs node and npm; `make docs` needs only the pictures.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "images" / "diagrams"
DRAW = """
import { renderMermaidSVG } from "beautiful-mermaid";
import { readFileSync } from "node:fs";
process.stdout.write(renderMermaidSVG(readFileSync(0, "utf8"), { transparent: true }));
"""


def main() -> None:
    texts = {diagram_name(text): text for page in ROOT.rglob("docs/**/*.md") for text in diagrams(page)}
    PICTURES.mkdir(exist_ok=True)
    for picture in PICTURES.glob("*.svg"):
        if picture.stem not in texts:
            picture.unlink()
    with tempfile.TemporaryDirectory() as home:
        missing = {name: text for name, text in texts.items() if not (PICTURES / f"{name}.svg").exists()}
        if missing:
            subprocess.run(["npm", "install", "--silent", "beautiful-mermaid@1"], cwd=home, check=True)
            (Path(home) / "draw.mjs").write_text(DRAW)
        for name, text in missing.items():
            done = subprocess.run(
                ["node", "draw.mjs"], input=text, cwd=home, check=True, capture_output=True, text=True
            )
            # No font from elsewhere.
            svg = re.sub(r"\s*@import url\([^)]*\);", "", done.stdout).replace("'Inter', ", "")
            (PICTURES / f"{name}.svg").write_text(svg.strip() + "\n")
            print(f"{name}.svg drawn")


def diagram_name(text: str) -> str:
    """Name the picture of a diagram by its text, so that a changed one is noticed."""
    return sha256(text.strip().encode()).hexdigest()[:12]


def diagrams(page: Path) -> list[str]:
    return re.findall(r"^```mermaid\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


if __name__ == "__main__":
    main()
