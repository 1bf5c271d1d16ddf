"""The project's files agree with the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import outspool
from outspool.app.settings import Settings
from outspool.cli import cli
from outspool.domain.status import EmailStatus

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9a-z.+!]+)(?: ; [\w.<>=!' ()]+)?")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this checkout, and return where it is unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def pins() -> list[re.Match[str] | None]:
    """Return what each line of the lock file says but for the hashes, None for a line that is no pin."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [PIN.fullmatch(line.removesuffix(" \\")) for line in lines if not line.startswith("    --hash=sha256:")]


def test_the_wheel_holds_the_program_and_every_migration_and_nothing_else(wheel: Path) -> None:
    shipped = {str(path.relative_to(wheel)) for path in wheel.rglob("*") if path.is_file()}
    sources = {f"outspool/{path.relative_to(ROOT / 'src/outspool')}" for path in (ROOT / "src/outspool").rglob("*.py")}
    migrations = {f"outspool/{path.relative_to(ROOT)}" for path in (ROOT / "migrations").rglob("*.py")}
    assert "outspool/migrations/env.py" in migrations
    assert any(name.startswith("outspool/migrations/versions/0001") for name in migrations)
    others = {name for name in shipped - sources - migrations if ".dist-info/" not in name}
    assert sources | migrations <= shipped
    templates = {f"outspool/templates/{path.name}" for path in (ROOT / "src/outspool/templates").iterdir()}
    assert "outspool/templates/report.html" in templates
    assert others == {"outspool/py.typed", "outspool/migrations/script.py.mako"} | templates


def test_the_wheel_migrates_a_database_far_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    database = tmp_path / "outspool.db"
    environment = os.environ | {"PYTHONPATH": str(wheel), "DATABASE_URL": f"sqlite:///{database}"}
    command = [sys.executable, "-m", "outspool", "migrate"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert database.exists()


def test_the_version_is_said_once_for_the_package_and_once_for_the_program() -> None:
    assert PROJECT["project"]["version"] == outspool.__version__


def test_the_lock_file_names_versions_and_neither_hosts_nor_paths() -> None:
    assert all(pins())


def test_the_lock_file_satisfies_what_the_project_asks_for() -> None:
    locked = {pin["name"]: pin["version"] for pin in pins() if pin}
    project = PROJECT["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["s3"], *PROJECT["dependency-groups"]["dev"]]
    wanted = [Requirement(line) for line in asked]
    unmet = [str(need) for need in wanted if not need.specifier.contains(locked.get(canonicalize_name(need.name), "0"))]
    assert wanted
    assert not unmet, "run make lock"


def test_what_continuous_integration_runs_is_what_the_readme_says() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "make test" in script.splitlines()
    assert "make test" in (ROOT / "README.md").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_make_says_what_it_can_make() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY: "))
    makes = set(phony.split()[1:]) - {"FORCE"}
    assert {"demo", "test", "test-long", "test-all", "lint", "bench"} < makes
    assert set(re.findall(r"^  make ([\w-]+)\t\S", shown, re.MULTILINE)) == makes


def test_the_suite_runs_on_every_python_that_the_project_names() -> None:
    named = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["project"]["classifiers"]))
    [versions] = re.findall(r'^versions="([\d. ]+)"$', (ROOT / ".ci/test-all").read_text(), re.MULTILINE)
    assert versions.split() == named
    assert os.access(ROOT / ".ci/test-all", os.X_OK)


def test_slow_tests_run_when_they_are_asked_for_only() -> None:
    options = PROJECT["tool"]["pytest"]["ini_options"]
    assert " ".join(options["addopts"]).endswith("-m not slow")
    assert any(marker.startswith("slow: ") for marker in options["markers"])
    assert re.search(r'^test-long: .*\n\t.*pytest -m "" .*--cov', (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_example_configuration_sets_what_exists() -> None:
    servers = json.loads((ROOT / "mcp.json.example").read_text())["mcpServers"].values()
    known = {field.alias for field in Settings.model_fields.values()}
    named = {name for server in servers for name in server.get("env", {})}
    assert named == {"GMAIL_EMAIL", "GMAIL_APP_PASSWORD"}
    assert named <= known


def test_the_settings_page_tells_of_every_setting_and_of_no_other() -> None:
    section = (ROOT / "docs/settings.md").read_text().split("\n## All settings\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    told = [name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)]
    assert sorted(told) == sorted(str(field.alias) for field in Settings.model_fields.values())


def test_the_command_line_page_tells_of_every_command() -> None:
    page = (ROOT / "docs/command-line.md").read_text()
    commands = typer.main.get_group(cli).commands
    assert {"serve", "attach", "edit", "resolve"} < commands.keys()
    assert [name for name in commands if not re.search(rf"\boutspool {name}\b", page)] == []


def test_the_tools_page_tells_of_every_status() -> None:
    page = (ROOT / "docs/tools.md").read_text().split("\n## What each status means\n")[1].split("\n## ")[0]
    told = {name for line in page.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line)}
    assert {str(status) for status in EmailStatus} - told <= {"held", "bounced"}  # which nothing reaches yet


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        path, _, heading = target.partition("#")
        linked = page if not path else (page.parent / path).resolve()
        assert linked.exists(), target
        titles = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE) if heading else []
        assert not heading or heading in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_every_page_is_in_both_indexes() -> None:
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    for index, prefix in ((ROOT / "README.md", "docs/"), (ROOT / "docs/README.md", "")):
        text = index.read_text()
        assert [page for page in pages if f"({prefix}{page})" not in text] == []


def shown_commands(page: Path) -> list[str]:
    """Return the commands of outspool in a page's examples and sentences, without comments."""
    text = page.read_text()
    fences = re.compile(r"^```(?P<kind>\w*)\n(?P<lines>.*?)^```", re.MULTILINE | re.DOTALL)
    examples = [
        line for fence in fences.finditer(text) if fence["kind"] == "console" for line in fence["lines"].split("\n")
    ]
    sentences = re.findall(r"`(outspool [^`]*)`", fences.sub("", text))
    lines = [line.removeprefix("$ ").split("#")[0] for line in (*examples, *sentences)]
    return [line for line in lines if re.match(r"outspool [a-z]", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    commands = typer.main.get_group(cli).commands
    for line in shown_commands(page):
        _, name, *words = line.split()
        assert name in commands, line
        options = {option for parameter in commands[name].params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= options, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_configuration_that_a_page_shows_is_json_and_sets_what_exists(page: Path) -> None:
    known = {field.alias for field in Settings.model_fields.values()}
    for block in re.findall(r"^```json\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        configuration = json.loads(block)
        [server] = (configuration.get("mcpServers") or configuration["servers"]).values()
        assert set(server["env"]) <= known
        assert (server["command"], server["args"]) == ("uvx", ["--from", "/path/to/outspool", "outspool"])


def test_the_picture_shows_the_demo_and_loads_nothing() -> None:
    picture = (ROOT / "docs/images/demo.svg").read_text()
    assert "docs/images/demo.svg" in (ROOT / "README.md").read_text()
    for part in ("send_email", "schedule_email", "451&#160;4.3.2", "550&#160;5.1.1"):
        assert part in picture
    assert not re.search(r"@import|url\(['\"]?http|href=|/tmp/|/home/", picture)


def test_the_image_is_made_of_files_that_reach_it() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = {
        name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]
    }
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)
