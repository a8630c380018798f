# Licensed under the Apache License, Version 2.0; see the LICENSE file at the root of the project.
# SPDX-License-Identifier: Apache-2.0
"""
The last step of ``make build``: what is in ``dist`` holds the package and nothing else, and it installs.

The wheel goes into a new virtual environment, where Airflow is asked what it knows of the provider.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email import message_from_string
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "airflow_provider_census"
BESIDES = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
EXAMPLES = "example_dags"
RELATIVE_LINK = re.compile(r"\]\((?![a-z]+:|#)[^)]*\)")


def main() -> None:
    (wheel,) = (ROOT / "dist").glob("*.whl")
    (sdist,) = (ROOT / "dist").glob("*.tar.gz")
    source, examples = files(PACKAGE), files(EXAMPLES)
    assert f"{PACKAGE}/py.typed" in source
    inside = {f"{PACKAGE}/{name}" for name in examples}

    release = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as archive:
        info = f"{PACKAGE}-{release}.dist-info"
        compare(wheel, set(archive.namelist()), source | inside | {f"{info}/{name}" for name in METADATA})
        metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
    if found := RELATIVE_LINK.findall(str(metadata.get_payload())):
        sys.exit(f"{wheel.name}: links that lead nowhere on a package index: {', '.join(found)}")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
        compare(sdist, names, source | examples | BESIDES)
    print(f"{wheel.name} and {sdist.name} hold the package and nothing else.")
    install(wheel)


def files(folder: str) -> set[str]:
    """Name what a folder of the project holds."""
    names = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*") if path.is_file()}
    return {name for name in names if "__pycache__" not in name}


def compare(archive: Path, names: set[str], wanted: set[str]) -> None:
    """End if an archive holds too much or too little."""
    if names != wanted:
        sys.exit(f"{archive.name}: too much {sorted(names - wanted)}, missing {sorted(wanted - names)}")


OFFERED = """
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag

[bundle] = [each for each in DagBundlesManager().get_all_dag_bundles() if "census" in each.name]
bag = DagBag(str(bundle.path))
assert not bag.import_errors, bag.import_errors
print(f"Airflow offers {len(bag.dags)} examples as the bundle {bundle.name}.")
"""


def install(wheel: Path) -> None:
    """Install the wheel into an empty environment, and let Airflow tell what it knows of it."""
    with tempfile.TemporaryDirectory(prefix="airflow-provider-census-") as home:
        python = Path(home) / "venv" / "bin" / "python"
        run(sys.executable, "-m", "venv", f"{home}/venv")
        what = ["install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), str(wheel)]
        # uv takes seconds where pip takes minutes, but reads no pip.conf.
        uv = [sys.executable, "-m", "uv", "pip", *what, "--python", str(python)]
        if subprocess.run(uv, check=False).returncode:
            run(str(python), "-m", "pip", *what)
        environment = {**os.environ, "AIRFLOW_HOME": f"{home}/airflow", "COLUMNS": "200"}
        environment["AIRFLOW__CORE__LOAD_EXAMPLES"] = "true"
        for line in (
            [str(python), "-c", f"import {PACKAGE}.operators.census, {PACKAGE}.sensors.census"],
            [str(python), "-c", OFFERED],
            [f"{home}/venv/bin/airflow", "providers", "get", "airflow-provider-census"],
        ):
            run(*line, cwd=home, env=environment)


def run(*command: str, **options: object) -> None:
    subprocess.run(command, check=True, **options)  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
