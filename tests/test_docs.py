"""The documentation's ``console`` blocks do what is printed under them; its links, names and snippets are right."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from dist_info import declared, install

from aiflow_ext.testing.complaint import PAGES as PAGES_OF_SECTIONS

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))  # where made.py is
PLUGINS = [
    f"{platform}.{engine}" for platform in ("local", "kubernetes", "yarn") for engine in ("python", "cmd_line", "flink")
]
PAGES = sorted(page.name for page in (ROOT / "docs").glob("*.md") if "```console\n" in page.read_text(encoding="utf-8"))
SNIPPET = re.compile(r"^```(python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
# A block of commands; or a file, whose first line names it, which the page has its reader write.
BLOCK = re.compile(
    r"^```(console\n|(?:yaml|python)\n# (?P<file>[\w./-]+)\n)(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
# Variables that lead to clusters: the pages show what is printed without them.
CLUSTERS = ("AIFLOW_", "HADOOP_", "YARN_", "KUBE")
# Examples that a page has its reader install.
INSTALLED = {"move-slurm.md": ROOT / "examples" / "plugins" / "slurm"}
# What is another one in each run, and what it is compared as.
VARYING = [
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "HH:MM:SS"),
    (re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}\b"), "-RUN"),
    (re.compile(r"\bpid \d+\b"), "pid N"),
    (re.compile(r"\b(\d+ min )?\d+(\.\d+)? s\b"), "N s"),
]


def commands_of(page: str) -> list[tuple[str, list[str]]]:
    """The commands of a page, in order, each with the lines that are printed under it."""
    found: list[tuple[str, list[str]]] = []
    for block in BLOCK.finditer(page):
        if block["file"]:
            text = f"# {block['file']}\n{block['text']}"
            found.append((f"cat > {block['file']} << 'END OF FILE'\n{text}END OF FILE", []))
            continue
        for line in block["text"].splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def plain(text: str) -> str:
    """The text without what varies; the columns of a table are those of a terminal, or tabs in a pipe."""
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return re.sub(r"[ \t]+(?=\n|$)", "", re.sub(r"(?<=\S)[ \t]+", " ", text))


def pattern_of(lines: list[str]) -> re.Pattern[str]:
    """What a command must print: a line ``...`` is any lines, and ``...`` in a line anything in it."""
    parts = []
    for line in lines:
        inside = r"[^\n]*".join(re.escape(part) for part in plain(line).split("..."))
        parts.append(r"(?:[^\n]*\n)*?" if line == "..." else rf"{inside}\n")
    return re.compile("".join(parts))


# On other Pythons the tests run beside the documentation, without the files of the repository that it names.
whole_repository = pytest.mark.skipif(not (ROOT / "aiflow_ext").is_dir(), reason="the repository is not here")


def markdown() -> list[Path]:
    """Every page of the repository. ``.venv`` and its like have thousands of files, and are not walked."""
    folders = [each for each in ROOT.iterdir() if each.is_dir() and each.name != "build" and each.name[0] != "."]
    inner = [page for folder in folders for page in folder.rglob("*.md")]
    return sorted([*ROOT.glob("*.md"), *(page for page in inner if ".aiflow" not in page.relative_to(ROOT).parts)])


def anchors_of(page: Path) -> set[str]:
    """The names by which links lead to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@whole_repository
def test_every_link_leads_to_a_file_and_to_a_heading_of_it() -> None:
    wrong = []
    for page in markdown():
        for path, anchor in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors_of(target)):
                wrong.append(f"{page.relative_to(ROOT)}: {path}#{anchor}")
    assert not wrong, "\n".join(wrong)


@whole_repository
def test_every_page_that_code_and_messages_name_is_there() -> None:
    named = re.compile(r"\bdocs/([\w-]+\.md)(?:#([\w-]+))?")
    sources = [path for folder in ("aiflow_ext", "plugins", "examples") for path in (ROOT / folder).rglob("*")
               if path.suffix in (".py", ".txt", ".toml")]  # fmt: skip
    found = [(path, *match) for path in sources for match in named.findall(path.read_text(encoding="utf-8"))]
    assert len(found) > 5
    for path, page, anchor in found:
        target = ROOT / "docs" / page
        assert target.exists(), f"{path}: docs/{page}"
        assert not anchor or anchor in anchors_of(target), f"{path}: docs/{page}#{anchor}"
    for anchor, page in PAGES_OF_SECTIONS.items():
        assert anchor in anchors_of(ROOT / "docs" / f"{page}.md"), f"aiflow_ext/testing/complaint.py: {page}#{anchor}"


def unknown_names(snippet: ast.AST) -> list[str]:
    """What a snippet takes from modules of aiflow-ext that they do not have."""
    homes, wrong = {"af": ["aiflow_ext", "aiflow_ext.plugin"]}, []  # where the snippet imports nothing, either is meant
    for node in ast.walk(snippet):
        if isinstance(node, ast.Import):
            homes.update({each.asname: [each.name] for each in node.names if each.asname and "aiflow_ext" in each.name})
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("aiflow_ext"):
            home = importlib.import_module(str(node.module))
            wrong += [f"{node.module}.{each.name}" for each in node.names if not hasattr(home, each.name)]
    for node in ast.walk(snippet):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in homes:
            modules = [importlib.import_module(each) for each in homes[node.value.id]]
            if not any(hasattr(each, node.attr) for each in modules):
                wrong.append(f"{node.value.id}.{node.attr}")
    return wrong


def test_the_python_and_yaml_that_pages_show_can_be_read_and_name_what_there_is() -> None:
    found = [
        (page, *each) for page in (ROOT / "docs").glob("*.md") for each in SNIPPET.findall(page.read_text("utf-8"))
    ]
    assert len(found) > 50
    for page, language, text in found:
        if language == "yaml":
            assert list(yaml.safe_load_all(text)), page
        else:
            assert unknown_names(ast.parse(textwrap.dedent(text), page.name)) == [], page


def test_every_page_is_in_the_sites_navigation() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^[\w-]+$", index, re.MULTILINE)
    assert sorted(listed) == sorted({path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"})


@pytest.mark.parametrize("name", ["every job", "project.yaml", *PLUGINS])
def test_every_key_has_a_meaning_that_its_class_says(name: str) -> None:
    import made

    rows = {"every job": made.of_every_job, "project.yaml": made.of_project}.get(name, lambda: made.of_plugin(name))()
    assert [row.key for row in rows if not row.meaning] == []


def test_the_site_shows_the_keys_of_every_plugin() -> None:
    import made

    page = (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")
    shown = {(row.key, row.meaning) for name in re.findall(r"^```{keys} (\w+\.\w+)$", page, re.MULTILINE)
             if name in PLUGINS for row in made.of_plugin(name)}  # fmt: skip
    assert {(row.key, row.meaning) for name in PLUGINS for row in made.of_plugin(name)} <= shown


def test_the_defaults_that_the_site_shows_are_those_of_the_classes() -> None:
    import made

    shown = {row.key: row.default for row in [*made.of_every_job(), *made.of_plugin("kubernetes.python")]}
    assert [shown[key] for key in ("retries", "shell", "exec_mode", "keep", "timeout")] == [
        "`0`", '`"sh"`', '`"BATCH"`', "`true`", ""
    ]  # fmt: skip
    assert [shown[key] for key in ("user", "image", "volumes[].mount")] == ["`1000`", "required", "required"]


def test_every_error_has_a_meaning_and_an_exit_code_of_the_table() -> None:
    import made

    codes = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8"), re.MULTILINE)
    _, _, *rows = made.errors()
    assert len(rows) > 15
    for row in rows:
        _, _, _, code, meaning, _ = (each.strip() for each in row.split("|"))
        assert code in codes, row
        assert meaning, row


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_is_what_its_commands_print(page: str, tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith(CLUSTERS)}
    env |= {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "EXAMPLES": str(ROOT / "examples"),
            "HOME": str(tmp_path / "home"), "XDG_STATE_HOME": str(tmp_path / "state"), "MPLBACKEND": "agg"}  # fmt: skip
    if page in INSTALLED:
        env["PYTHONPATH"] = str(installed(INSTALLED[page], tmp_path / "site"))
    folder, where = tmp_path, tmp_path / "where"
    for command, lines in commands_of((ROOT / "docs" / page).read_text(encoding="utf-8")):
        script = f"{command}\ncode=$?; pwd > {where}; [ $code = 0 ] || echo [exit code $code]"
        done = subprocess.run(["bash", "-c", script], cwd=folder, env=env, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        folder = Path(where.read_text().strip())
        assert pattern_of(lines).fullmatch(plain(done.stdout)), f"$ {command}\n{done.stdout}\nis not\n" + "\n".join(
            lines
        )


def installed(distribution: Path, site: Path) -> Path:
    """The folder in which the distribution whose sources these are is installed."""
    meta = declared(distribution)["project"]
    groups = {group.partition(".")[2]: names for group, names in meta["entry-points"].items()}
    install(site, meta["name"], groups, version=meta["version"])
    package = meta["name"].replace("-", "_")
    (site / package).symlink_to(distribution / package)
    return site


def test_a_page_whose_output_is_another_one_is_noticed() -> None:
    (command, lines), *_ = commands_of(
        "```console\n$ show\none 10:11:12\n...\nlast 1.5 s of x-20261130-102534-ad46 ...\n```\n"
    )
    assert command == "show"
    assert pattern_of(lines).fullmatch(plain("one 01:02:03\na\nb\nlast 2 s of x-20261201-000000-0000 and more\n"))
    assert not pattern_of(lines).fullmatch(plain("one 01:02:03\nlast 2 s of y-20261201-000000-0000 and more\n"))
    assert not pattern_of(lines).fullmatch(plain("one 01:02:03\nlast 2 s of x-20261201-000000-0000 and more\nextra\n"))
