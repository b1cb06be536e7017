"""Build a wheel, run the conformance kit on it as it is installed, and put the kit's certificate into it.

    python .ci/proven_wheels.py INTO FOLDER TESTS... [pytest's options]

``FOLDER`` is the distribution's in the repository, ``TESTS`` are those of the kit for all of its plugins: files, or
classes of them (``FILE::CLASS``). Nothing is written to ``INTO`` unless all tests have passed. `make proven-wheels`
does it for all.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))

from built import ROOT, build, copy_source
from throwaway import make_environment, pip_install

CERTIFICATE = "aiflow-certificate.json"
NEEDED = (".", "plugins/flink", "plugins/local")  # by the tests, or by the plugins


def certified(wheel: Path, certificate: bytes, into: Path) -> Path:
    """Write the wheel with the certificate in its metadata, where RECORD lists it; everything else stays as it is."""
    made = into / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith(".dist-info/RECORD"):
                name = f"{os.path.dirname(item.filename)}/{CERTIFICATE}"
                digest = base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()
                content += f"{name},sha256={digest},{len(certificate)}\n".encode()
                new.writestr(name, certificate)
            new.writestr(item, content)
    return made


def main(into: Path, folder: str, tests: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="proven-") as name:
        scratch = Path(name)
        wheels = {}
        for each in dict.fromkeys((*NEEDED, os.path.normpath(folder))):
            source = copy_source(each, scratch / "sources" / os.path.basename(os.path.abspath(each)))
            wheels[each] = build("wheel", source, scratch)
        # Only the distribution and what it needs come from there; pytest, and what else the tests use, from here.
        python = make_environment(scratch / "environment", tested=False)
        pip_install(python, *wheels.values())
        written = scratch / CERTIFICATE
        tests = [str(ROOT / each) if (ROOT / each.partition("::")[0]).exists() else each for each in tests]
        # A script that is run by its path, for ``-m pytest`` would find the sources in the current folder.
        (scratch / "kit.py").write_text("import sys, pytest\nsys.exit(pytest.main(sys.argv[1:]))\n")
        argv = [python, scratch / "kit.py", "-m", "", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT]
        ended = subprocess.run([*map(str, argv), f"--aiflow-certificate={written}", *tests], cwd=scratch).returncode
        if not written.exists():
            print(f"{folder}: not proven, and no wheel was written", file=sys.stderr)
            return ended or 1
        into.mkdir(parents=True, exist_ok=True)
        print(certified(wheels[os.path.normpath(folder)], written.read_bytes(), into.resolve()))
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(str(__doc__))
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
