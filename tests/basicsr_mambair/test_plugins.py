"""Modules of other authors that add to the registries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from basicsr_mambair.plugins import PluginError, import_plugins

_NETWORK = """
from torch import nn
from mambair.archs.registry import register_arch

@register_arch
class {name}(nn.Module):
    upscale, in_chans = 1, 3

    @classmethod
    def detect(cls, state):
        return None

    def forward(self, x):
        return x
"""


def test_a_module_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_broken_plugin.py").write_text("raise RuntimeError('half done')\n")
    with pytest.raises(PluginError, match=r"a_broken_plugin: .*RuntimeError: half done"):
        import_plugins(["a_broken_plugin"])
    with pytest.raises(PluginError, match="no_such_plugin: cannot be imported: ModuleNotFound"):
        import_plugins(["no_such_plugin"])


def test_a_network_registered_later_is_one_of_basicsr(tmp_path: Path) -> None:
    """In a process of its own: a registry cannot be emptied."""
    (tmp_path / "my_archs.py").write_text(_NETWORK.format(name="Later"))
    code = (
        "import basicsr_mambair, basicsr; from basicsr.archs import build_network; "
        "from basicsr_mambair.plugins import import_plugins; import_plugins(['my_archs']); "
        "print(type(build_network({'type': 'Later'})).__module__)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().splitlines()[-1] == "my_archs"


def test_an_installed_package_announces_itself(tmp_path: Path) -> None:
    """A distribution on the path with an entry point, as pip installs it."""
    (tmp_path / "my_archs.py").write_text(_NETWORK.format(name="Announced"))
    metadata = tmp_path / "my_archs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-archs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[basicsr_mambair.plugins]\narchs = my_archs\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import basicsr_mambair, basicsr; "
        "from basicsr.utils.registry import ARCH_REGISTRY; print('Announced' in ARCH_REGISTRY)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True)
    assert run.stdout.strip().splitlines()[-1:] == ["True"], run.stderr
    (tmp_path / "my_archs.py").write_text("import nothing_of_that_name\n")
    run = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True)
    assert "the installed package my-archs announces my_archs, which cannot be imported" in (
        run.stderr
    )
