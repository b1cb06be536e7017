"""A certificate of a bed's own making, as PEM for clients and as the key store that Hadoop's daemons read."""

from __future__ import annotations

import subprocess
from pathlib import Path

from yarn_hadoop import BedError


class Certificate:
    """It names ``localhost`` and 127.0.0.1, and signs itself.

    Attributes:
        ca: PEM; what a client trusts.
        key: PEM; the private key.
        keystore, password: PKCS12.
    """

    password = "no secret"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca, self.key, self.keystore = folder / "ca.pem", folder / "key.pem", folder / "keystore.p12"

    def make(self) -> None:
        """Make it where it is not there. Raises BedError."""
        if self.keystore.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                      "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                      "-keyout", str(self.key), "-out", str(self.ca))  # fmt: skip
        self._openssl("pkcs12", "-export", "-inkey", str(self.key), "-in", str(self.ca), "-name", "bed",
                      "-passout", f"pass:{self.password}", "-out", str(self.keystore))  # fmt: skip

    def _openssl(self, *args: str) -> None:
        try:
            subprocess.run(["openssl", *args], check=True, stdin=subprocess.DEVNULL, capture_output=True)
        except FileNotFoundError as error:
            raise BedError("the bed's certificate is made by openssl, which is not on the PATH") from error
        except subprocess.CalledProcessError as error:
            raise BedError(f"openssl {args[0]} failed: {error.stderr.decode(errors='replace')[-500:]}") from error
