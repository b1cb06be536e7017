"""The badge of a certificate: it is shown where the installed files are those that passed the kit, and only there."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from dist_info import install

import aiflow_ext

SOURCE = 'import os\nopen(os.environ["SEEN"], "w").close()\n'
FILES = {"queue_plugin/__init__.py": "", "queue_plugin/jobs.py": SOURCE, "queue_plugin/sub/deep.py": "x = 1\n"}


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Site:
    """A folder on the import path with one distribution, whose plugin is certified."""

    def __init__(self, root, cli, env):
        self.root, self.cli, self.env = root, cli, env
        self.certificate = root / "queue_plugin" / "aiflow-certificate.json"
        (root / "queue_plugin" / "sub").mkdir(parents=True)
        plugins = {"queue.cmd_line": "queue_plugin.jobs:Plugin", "queue.sql": "queue_plugin.jobs:Other"}
        self.info = install(root, "queue-dist", {"job_plugins": plugins}, FILES)
        self.listed(f"queue_plugin/{self.certificate.name}")
        entry_points = (self.info / "entry_points.txt").read_text()
        self.certify(files={**{name: sha256(text) for name, text in FILES.items()},
                            "entry_points.txt": sha256(entry_points)})  # fmt: skip

    def listed(self, name):
        with open(self.info / "RECORD", "a") as file:
            file.write(f"{name},,\n")

    def certify(self, **other):
        data = {
            "format": "aiflow-ext certificate 1", "distribution": "queue-dist", "version": "1.0",
            "plugins": {"queue.cmd_line": {"level": "durable", "seed": 1, "kills": 40, "left_out": []}},
            "aiflow_ext": aiflow_ext.__version__, "python": "3.11.7", "date": "2026-11-30", "files": {},
        }  # fmt: skip
        self.certificate.write_text(json.dumps({**data, **other}))

    def proof(self, name="queue.cmd_line"):
        done = self.cli("plugins", "--proof", "--json", env=self.env)
        assert (done.returncode, done.stderr) == (0, "")
        assert not os.path.exists(self.env["SEEN"]), "a plugin was imported"
        (found,) = [each["proof"] for each in json.loads(done.stdout) if each["name"] == name]
        return found


@pytest.fixture
def site(tmp_path, cli, cli_env):
    return Site(tmp_path / "site", cli, {**cli_env, "PYTHONPATH": str(tmp_path / "site"), "SEEN": f"{tmp_path}/seen"})


def test_a_distribution_with_the_files_that_passed_is_proven(site):
    details = f"on 2026-11-30 with aiflow-ext {aiflow_ext.__version__} and Python 3.11.7, 40 kills (seed 1)"
    assert site.proof() == {"level": "durable", "words": "proven durable", "details": details}
    assert site.proof("queue.sql") is None, "the certificate does not name it"
    assert site.proof("local.cmd_line") is None, "it ships no certificate"


def test_the_inventory_why_and_the_doctor_show_it(site):
    table = site.cli("plugins", "--proof", env=site.env).stdout
    assert "\tqueue_plugin.jobs:Plugin\tproven durable\t" in table
    assert "proven" not in site.cli("plugins", env=site.env).stdout
    decisions = json.loads(site.cli("why", "queue", "cmd_line", "--no-load", "--json", env=site.env).stdout)[
        "decisions"
    ]
    assert decisions[-1]["about"] == "proof"
    assert decisions[-1]["words"].startswith("proven durable on 2026-11-30")
    seen = json.loads(site.cli("doctor", "--json", env=site.env).stdout)["plugins"]
    assert [each["proof"]["level"] for each in seen if each["proof"]] == ["durable"]


def change(site):
    (site.root / "queue_plugin" / "jobs.py").write_text(SOURCE + "# patched here\n")


def remove(site):
    (site.root / "queue_plugin" / "sub" / "deep.py").unlink()


def add(site):
    (site.root / "queue_plugin" / "sub" / "more.py").write_text("")


def add_and_list(site):
    add(site)
    site.listed("queue_plugin/sub/more.py")


def add_bytecode_without_source(site):
    (site.root / "queue_plugin" / "more.pyc").write_bytes(b"")


def link_a_folder(site):
    (site.root / "queue_plugin" / "more").symlink_to("/usr")


def lead_to_another_object(site):
    entry_points = site.info / "entry_points.txt"
    entry_points.write_text(entry_points.read_text().replace("jobs:Plugin", "sub.deep:Plugin"))


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (change, "queue_plugin/jobs.py was changed"),
        (remove, "queue_plugin/sub/deep.py is missing"),
        (add, "queue_plugin/sub/more.py was added"),
        (add_and_list, "queue_plugin/sub/more.py was added"),
        (add_bytecode_without_source, "queue_plugin/more.pyc was added"),
        (link_a_folder, "queue_plugin/more was added"),
        (lead_to_another_object, "entry_points.txt was changed"),
    ],
)
def test_it_is_lost_by_any_file_that_differs(site, tamper, words):
    assert site.proof()["level"] == "durable"
    tamper(site)
    proof = site.proof()
    assert proof["level"] is None
    assert proof["words"] == f"not proven: {words}; its certificate is about other files"


def test_it_is_not_lost_by_bytecode_that_python_writes(site):
    (site.root / "queue_plugin" / "__pycache__").mkdir()
    (site.root / "queue_plugin" / "__pycache__" / "jobs.cpython-311.pyc").write_bytes(b"")
    assert site.proof()["level"] == "durable"


def test_a_package_that_hides_a_single_module_loses_it(tmp_path, cli, cli_env):
    site = Site(tmp_path / "site", cli, {**cli_env, "PYTHONPATH": str(tmp_path / "site"), "SEEN": f"{tmp_path}/seen"})
    (site.root / "single.py").write_text("")
    site.listed("single.py")
    files = json.loads(site.certificate.read_text())["files"]
    site.certify(files={**files, "single.py": sha256("")})
    assert site.proof()["level"] == "durable"
    (site.root / "single").mkdir()
    (site.root / "single" / "__init__.py").write_text("")
    assert site.proof()["words"].startswith("not proven: single/__init__.py was added")


def test_an_editable_distribution_is_never_proven(site):
    site.listed("__editable__.queue_dist.pth")
    assert "it is installed editable" in site.proof()["words"]


def test_a_proof_with_another_aiflow_ext_says_so(site):
    site.certify(files=json.loads(site.certificate.read_text())["files"], aiflow_ext="0.0.9")
    assert site.proof()["words"] == "proven durable with aiflow-ext 0.0.9"


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", "[" * 100_000, '{"format": "other"}', '{"format": "aiflow-ext certificate 1"}', "\x00\x1b[2J"],
)
def test_a_certificate_that_is_none_proves_nothing_and_stops_nothing(site, content):
    site.certificate.write_text(content)
    proof = site.proof()
    assert proof["level"] is None
    assert proof["words"].startswith("not proven: its certificate cannot be read: ")


def test_a_certificate_whose_parts_are_of_wrong_types_proves_nothing(site):
    for part in ({"files": []}, {"plugins": {"queue.cmd_line": {"level": "best"}}}, {"date": 3}, {"plugins": [1]}):
        site.certify(**part)
        assert site.proof()["level"] is None


def test_a_distribution_without_record_is_listed_as_before(site):
    (site.info / "RECORD").unlink()
    assert site.proof() is None
