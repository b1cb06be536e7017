"""A Kerberos realm of its own for a bed: MIT's KDC from Debian's packages, on loopback, installed nowhere.

The packages are unpacked in the cache; the database, the keytab of all services and the users' tickets are the bed's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from yarn_hadoop import BedError, cache

REALM = "BED.TEST"
BRIEF = 30  # seconds that a ticket of the user ``brief`` is valid
SERVICES = ("HTTP", "nn", "dn", "rm", "nm", "jhs")  # each as NAME/localhost
PACKAGES = ("krb5-kdc", "krb5-admin-server", "krb5-user", "libgssrpc4", "libkdb5-10", "libkadm5srv-mit12",
            "libkadm5clnt-mit12", "libverto1", "libverto-libev1", "libev4", "libkrb5-3", "libgssapi-krb5-2",
            "libkrb5support0", "libk5crypto3", "libss2", "libcom-err2")  # fmt: skip

CONF = """[libdefaults]
  default_realm = {realm}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
  udp_preference_limit = 1
[realms]
  {realm} = {{
    kdc = 127.0.0.1:{port}
  }}
[domain_realm]
  localhost = {realm}
[dbmodules]
  db_module_dir = {home}/usr/lib/x86_64-linux-gnu/krb5/plugins/kdb
"""
KDC_CONF = """[kdcdefaults]
  kdc_listen = 127.0.0.1:{port}
  kdc_tcp_listen = 127.0.0.1:{port}
[realms]
  {realm} = {{
    database_name = {folder}/principal
    key_stash_file = {folder}/stash
  }}
[logging]
  kdc = FILE:{folder}/requests.log
"""


class Realm:
    """The realm in a folder; its KDC listens on a port of loopback.

    Attributes:
        conf: its krb5.conf.
        keytab: the keys of all services and users.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.conf, self.keytab = folder / "krb5.conf", folder / "keytab"

    def up(self, users: Sequence[str] = ("ada",)) -> None:
        """Make the realm where it is not there, and start its KDC. Raises BedError."""
        home = install()
        if not self.keytab.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            facts = {"realm": REALM, "port": self.port, "home": home, "folder": self.folder}
            self.conf.write_text(CONF.format(**facts))
            (self.folder / "kdc.conf").write_text(KDC_CONF.format(**facts))
            self._call("sbin/kdb5_util", "create", "-s", "-r", REALM, "-P", "no secret")
            names = [*(f"{service}/localhost" for service in SERVICES), *users]
            names.append("brief")
            made = "".join(f"addprinc -randkey {name}\nktadd -k {self.keytab}.part {name}\n" for name in names)
            made += f'modprinc -maxlife "{BRIEF} seconds" brief\n'
            self._call("sbin/kadmin.local", "-r", REALM, text=made)
            os.rename(f"{self.keytab}.part", self.keytab)
        if self._answers():
            return
        with (self.folder / "kdc.log").open("ab") as log:
            process = subprocess.Popen(
                [home / "usr/sbin/krb5kdc", "-n", "-r", REALM], env=self.env(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        (self.folder / "pid").write_text(str(process.pid))
        deadline = time.monotonic() + 20
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise BedError(f"the KDC does not come up; see {self.folder / 'kdc.log'}")
            time.sleep(0.05)

    def down(self) -> None:
        """End the KDC and forget the realm."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            pid = int((self.folder / "pid").read_text())
            if b"krb5kdc" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ticket(self, user: str = "ada") -> dict[str, str]:
        """The variables of a user with a ticket, as after kinit."""
        cached = self.folder / f"tickets-{user}"
        self._call("bin/kinit", "-k", "-t", str(self.keytab), "-c", str(cached), user)
        return {"KRB5_CONFIG": str(self.conf), "KRB5CCNAME": f"FILE:{cached}"}

    def logins(self, user: str) -> int:
        """How often a user has requested a ticket for a web service: once with each new credential cache."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.folder / "requests.log").read_text(errors="replace").splitlines()
            wanted = f"{user}@{REALM} for HTTP/"
            return sum("TGS_REQ" in line and " ISSUE: " in line and wanted in line for line in lines)
        return 0

    def env(self) -> dict[str, str]:
        """The variables of the realm's own programs."""
        return {**os.environ, "KRB5_CONFIG": str(self.conf), "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
                "LD_LIBRARY_PATH": str(install() / "usr/lib/x86_64-linux-gnu")}  # fmt: skip

    def _call(self, program: str, *args: str, text: str = "") -> None:
        done = subprocess.run([install() / "usr" / program, *args], env=self.env(), input=text, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        if done.returncode:
            raise BedError(f"{program} failed: {done.stdout.strip()[-500:]}")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def install() -> Path:
    """The folder in which Debian's packages of MIT Kerberos are unpacked; fetched where it is not there yet."""
    home = cache() / "krb5"
    if (home / "usr/sbin/krb5kdc").exists():
        return home
    scratch = cache() / f"krb5-{os.getpid()}"
    scratch.mkdir(parents=True)
    try:
        got = subprocess.run(["apt-get", "download", *PACKAGES], cwd=scratch, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
        if got.returncode:
            raise BedError(f"apt-get could not fetch the KDC: {got.stdout.strip()[-500:]}")
        for package in sorted(scratch.glob("*.deb")):
            subprocess.run(["dpkg", "-x", package, scratch / "root"], check=True)
        with contextlib.suppress(OSError):  # somebody else was faster
            os.rename(scratch / "root", home)
    except FileNotFoundError as error:
        raise BedError(f"the KDC comes from Debian's packages, and there is no {error.filename} here") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return home
