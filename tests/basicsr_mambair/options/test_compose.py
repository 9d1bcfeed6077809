"""Option files made of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from basicsr_mambair.options import OptionError
from basicsr_mambair.options.compose import composed_text, read_composed, resolve_references


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text)
    return folder / "run.yml"


def read(path: Path) -> dict:
    options = read_composed(path).options
    resolve_references(options)
    return options


def test_sections_are_merged_and_values_replaced(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    write(tmp_path / "base", net="net: {width: 8, depths: [1, 2]}\nscale: 2\n",
          more="extends: net.yml\nnet: {width: 16}\nlr: 2e-4\n")  # fmt: skip
    path = write(tmp_path, other="lr: 1e-3\nnet: {depths: [4]}\n",
                 run="extends: [base/more.yml, other.yml]\nnet: {heads: 2}\n")  # fmt: skip
    assert read(path) == {
        "net": {"width": 16, "depths": [4], "heads": 2},
        "scale": 2,
        "lr": 1e-3,
    }


def test_null_takes_a_key_out(tmp_path: Path) -> None:
    path = write(tmp_path, base="a: {b: 1, c: 2}\nd: 3\n",
                 run="extends: base.yml\na: {b: ~}\nd: ~\ne: ~\n")  # fmt: skip
    assert read(path) == {"a": {"c": 2}, "e": None}


def test_references_keep_the_type_and_see_the_last_value(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        base="crop: ${scale}\nfolder: LR/X${scale}\ntimes: ['${train.total}']\ntemplate: '{}x2'\n",
        run="extends: base.yml\nscale: 3\ntrain: {total: 10}\n",
    )
    assert read(path) == {
        "crop": 3, "folder": "LR/X3", "times": [10], "template": "{}x2", "scale": 3,
        "train": {"total": 10},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (dict(run="extends: gone.yml\n"), "extends: gone.yml: the option file does not exist"),
        (dict(run="extends: a.yml\n", a="b: [\n"), r"a.yml:2: not valid YAML"),
        (dict(run="extends: a.yml\n", a="extends: run.yml\n"), "a.yml:1: extends: run.yml extends"),
        (dict(run="extends: run.yml\n"), "extends this file in turn"),
        (dict(run="extends: [{a: 1}]\n"), "must be a file or a list of files"),
        (dict(run="a: {b: '${scle}'}\n"), r"a.b: \$\{scle\} names no option"),
        (dict(run="a: x${b}\nb: {c: 1}\n"), "must name a plain value"),
        (dict(run="a: ${b}\nb: ${a}\n"), "refers to itself"),
        (dict(run="a: ${a}\n"), "refers to itself"),
    ],
)
def test_what_is_refused(tmp_path: Path, files: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read(write(tmp_path, **files))


@pytest.mark.parametrize("text", ["a: ${b}\nc: x${a}\nb: 1\n", "c: x${a}\na: ${b}\nb: 1\n"])
def test_references_to_references_in_any_order(tmp_path: Path, text: str) -> None:
    assert read(write(tmp_path, run=text)) == {"a": 1, "b": 1, "c": "x1"}


def test_aliases_are_no_longer_shared_when_one_is_changed(tmp_path: Path) -> None:
    path = write(
        tmp_path, base="a: &t {noise: 5}\nb: *t\n", run="extends: base.yml\na: {noise: 15}\n"
    )
    assert read(path) == {"a": {"noise": 15}, "b": {"noise": 5}}


def test_composed_text(tmp_path: Path) -> None:
    path = write(tmp_path, base="b: 1\n", run="extends: base.yml\na: ${b}\n")
    assert composed_text(path) == "b: 1\na: ${b}\n"
    assert composed_text(tmp_path / "base.yml") is None
