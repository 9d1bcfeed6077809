"""The paired dataset: every way the published files use it, and every way data can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from PIL import Image

from basicsr_mambair.data import MambaIRPairedDataset
from mambair.imaging.errors import PictureError
from tests.conftest import photograph


def dataset(root: Path, **changes: Any) -> MambaIRPairedDataset:
    opt = {
        "phase": "val", "scale": 2, "dataroot_gt": str(root / "HR"),
        "dataroot_lq": str(root / "LR"), "filename_tmpl": "{}x2", "io_backend": {"type": "disk"},
        "gt_size": 32, "use_hflip": True, "use_rot": True,
    }  # fmt: skip
    return MambaIRPairedDataset({**opt, **changes})


def stock(root: Path, **changes: Any) -> PairedImageDataset:
    return PairedImageDataset({**dataset(root).opt, **changes})


@pytest.mark.parametrize("changes", [{}, {"color": "y"}, {"mean": [0.5] * 3, "std": [0.2] * 3}])
def test_agrees_with_basicsr(pairs: Path, changes: dict) -> None:
    """Whole pictures, in the order of BasicSR up to the order of the folder."""
    if "mean" in changes:
        changes = {**changes, "mean": tuple(changes["mean"]), "std": tuple(changes["std"])}
    own = {sample["gt_path"]: sample for sample in dataset(pairs, **changes)}
    theirs = stock(pairs, **changes)
    assert len(own) == len(theirs) == 3
    for sample in theirs:
        for key in ("lq", "gt"):
            torch.testing.assert_close(own[sample["gt_path"]][key], sample[key], atol=1e-6, rtol=0)


def test_training_crops_match_and_vary(pairs: Path) -> None:
    samples = dataset(pairs, phase="train")
    seen = set()
    for _ in range(8):
        sample = samples[0]
        assert sample["gt"].shape == (3, 32, 32)
        assert sample["lq"].shape == (3, 16, 16)
        # GT shrunk by averaging resembles LQ only if both show the same place, the same way up
        shrunk = torch.nn.functional.avg_pool2d(sample["gt"], 2)
        assert (shrunk - sample["lq"]).abs().mean() < 0.02
        seen.add(sample["lq"].numpy().tobytes())
    assert len(seen) > 4


def test_lists_of_folders_and_other_extensions(pairs: Path, tmp_path: Path) -> None:
    (pairs / "HR2").mkdir()
    (pairs / "LR2").mkdir()
    image = photograph("rocket" if False else "coffee")
    cv2.imwrite(str(pairs / "HR2" / "more.png"), image)
    cv2.imwrite(str(pairs / "LR2" / "morex2.jpg"), image[::2, ::2])
    samples = dataset(
        pairs,
        dataroot_gt=[str(pairs / "HR"), str(pairs / "HR2")],
        dataroot_lq=[str(pairs / "LR"), str(pairs / "LR2")],
    )
    assert len(samples) == 4
    assert samples[3]["lq_path"].endswith("morex2.jpg")


def test_meta_info_file(pairs: Path) -> None:
    meta = pairs / "meta.txt"
    meta.write_text("coffee.png (96,128,3)\nchelsea.png (96,128,3)\n")
    samples = dataset(pairs, meta_info_file=str(meta))
    assert [Path(p.gt).stem for p in samples.pairs] == ["coffee", "chelsea"]
    assert samples[0]["lq"].shape == (3, 48, 64)


def test_lmdb(pairs: Path) -> None:
    for folder, template in (("HR", "{}"), ("LR", "{}x2")):
        names = sorted(path.name for path in (pairs / folder).iterdir())
        keys = ["astronaut", "chelsea", "coffee"]
        assert names == [f"{template.format(key)}.png" for key in keys]
        make_lmdb_from_imgs(str(pairs / folder), str(pairs / f"{folder}.lmdb"), names, keys)
    samples = dataset(
        pairs,
        io_backend={"type": "lmdb"},
        dataroot_gt=str(pairs / "HR.lmdb"),
        dataroot_lq=str(pairs / "LR.lmdb"),
    )
    from_disk = dataset(pairs)
    for i in range(3):
        assert torch.equal(samples[i]["lq"], from_disk[i]["lq"])
        assert torch.equal(samples[i]["gt"], from_disk[i]["gt"])
    loader = torch.utils.data.DataLoader(samples, num_workers=2)
    assert sum(1 for _ in loader) == 3
    noisy = dataset(
        pairs, scale=1, task="denoising_color", noise=10, io_backend={"type": "lmdb"},
        dataroot_gt=str(pairs / "HR.lmdb"),
    )  # fmt: skip
    assert noisy[0]["lq"].shape == (3, 96, 128)


def test_jpeg_artifacts_are_read_as_gray(pairs: Path) -> None:
    (pairs / "Q10").mkdir()
    for path in (pairs / "HR").iterdir():
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(pairs / "Q10" / f"{path.stem}.jpg"), gray, [cv2.IMWRITE_JPEG_QUALITY, 10])
    samples = dataset(
        pairs, scale=1, task="CAR", dataroot_lq=str(pairs / "Q10"), filename_tmpl="{}"
    )
    sample = samples[0]
    assert sample["gt"].shape == sample["lq"].shape == (1, 96, 128)
    gray = cv2.imread(sample["gt_path"], cv2.IMREAD_GRAYSCALE)
    np.testing.assert_allclose(sample["gt"][0] * 255, gray, atol=1e-4)


@pytest.mark.parametrize(("task", "channels"), [("denoising_color", 3), ("denoising_gray", 1)])
def test_evaluation_noise_is_the_published_one(pairs: Path, task: str, channels: int) -> None:
    samples = dataset(pairs, scale=1, task=task, noise=25, dataroot_lq=None)
    state = np.random.get_state()[1].copy()
    for i in range(2):
        sample = samples[i]
        np.random.seed(0)
        noise = np.random.normal(0, 25 / 255.0, (96, 128, channels))
        if channels == 3:
            noise = noise[..., ::-1]  # drawn in BGR order
        expected = sample["gt"].numpy().transpose(1, 2, 0) + noise
        np.testing.assert_allclose(sample["lq"].numpy().transpose(1, 2, 0), expected, atol=1e-6)
        assert sample["lq"].min() < 0 or sample["lq"].max() > 1, "clipped"
    np.random.set_state(("MT19937", state, 624, 0, 0.0))
    samples[0]
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_training_noise_varies(pairs: Path) -> None:
    samples = dataset(pairs, phase="train", scale=1, task="denoising_color", noise=25)
    noise = [sample["lq"] - sample["gt"] for sample in (samples[0], samples[0])]
    assert not torch.equal(*noise)
    assert float(noise[0].std() * 255) == pytest.approx(25, rel=0.15)


def test_test_pictures_may_be_larger_by_less_than_scale(pairs: Path) -> None:
    image = cv2.imread(str(pairs / "HR" / "coffee.png"))
    odd = cv2.copyMakeBorder(image, 0, 1, 0, 1, cv2.BORDER_REPLICATE)
    cv2.imwrite(str(pairs / "HR" / "coffee.png"), odd)
    assert dataset(pairs)[2]["gt"].shape == (3, 96, 128)
    with pytest.raises(PictureError, match=r"coffeex2\.png: 48×64 .* 97×129 .*coffee\.png"):
        dataset(pairs, phase="train")


class TestWhatIsWrongIsNamed:
    def test_missing_partner(self, pairs: Path) -> None:
        (pairs / "LR" / "coffeex2.png").unlink()
        with pytest.raises(PictureError, match=r"coffee\.png: has no partner .*coffeex2"):
            dataset(pairs)

    def test_sizes(self, pairs: Path) -> None:
        cv2.imwrite(str(pairs / "LR" / "chelseax2.png"), np.zeros((10, 10, 3), np.uint8))
        with pytest.raises(PictureError, match=r"chelseax2\.png: 10×10 pixels do not match"):
            dataset(pairs)

    def test_empty_folder(self, pairs: Path) -> None:
        (pairs / "empty").mkdir()
        with pytest.raises(PictureError, match="empty: no picture in this folder"):
            dataset(pairs, dataroot_gt=str(pairs / "empty"))

    def test_missing_folder(self, pairs: Path) -> None:
        with pytest.raises(PictureError, match="nowhere: there is no such"):
            dataset(pairs, dataroot_gt=str(pairs / "nowhere"))
        with pytest.raises(PictureError, match="nowhere: not a readable folder"):
            dataset(pairs, dataroot_lq=str(pairs / "nowhere"))

    @pytest.mark.parametrize("keep", [0, 20, 0.5, 0.99])
    @pytest.mark.parametrize("extension", ["png", "jpg"])
    def test_damaged(self, pairs: Path, keep: float, extension: str) -> None:
        path = pairs / "HR" / "coffee.png"
        image = cv2.imread(str(path))
        path.unlink()
        path = path.with_suffix(f".{extension}")
        cv2.imwrite(str(path), image)
        content = path.read_bytes()
        path.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
        with pytest.raises(PictureError, match=rf"coffee\.{extension}: not a readable picture"):
            dataset(pairs)[2]

    def test_smaller_than_the_crop(self, pairs: Path) -> None:
        with pytest.raises(ValueError, match=r"astronautx2\.png: 48×64 pixels are less than .*64"):
            dataset(pairs, phase="train", gt_size=128)[0]

    def test_lmdb_without_partner(self, pairs: Path) -> None:
        for folder, keys in (("HR", ["a", "b", "c"]), ("LR", ["a", "b", "d"])):
            names = sorted(path.name for path in (pairs / folder).iterdir())
            make_lmdb_from_imgs(str(pairs / folder), str(pairs / f"{folder}.lmdb"), names, keys)
        with pytest.raises(PictureError, match=r"HR\.lmdb: key 'c' has no partner"):
            dataset(
                pairs, io_backend={"type": "lmdb"}, dataroot_gt=str(pairs / "HR.lmdb"),
                dataroot_lq=str(pairs / "LR.lmdb"),
            )  # fmt: skip

    def test_missing_meta_info(self, pairs: Path) -> None:
        with pytest.raises(PictureError, match="no.txt: cannot be read"):
            dataset(pairs, meta_info_file=str(pairs / "no.txt"))

    def test_meta_info_that_names_no_file(self, pairs: Path) -> None:
        (pairs / "meta.txt").write_text("coffee.png (96,128,3)\ntea.png (96,128,3)\n")
        with pytest.raises(PictureError, match=r"tea\.png: there is no such file .*meta\.txt"):
            dataset(
                pairs, scale=1, task="denoising_color", noise=5,
                meta_info_file=str(pairs / "meta.txt"),
            )  # fmt: skip


def test_extensions_in_capitals(pairs: Path) -> None:
    (pairs / "LR" / "coffeex2.png").rename(pairs / "LR" / "coffeex2.PNG")
    assert dataset(pairs)[2]["lq_path"].endswith("coffeex2.PNG")


def test_pictures_on_their_side(pairs: Path) -> None:
    """Start-up compares the sizes that decoding gives: EXIF orientation turns a photograph."""
    image = photograph("coffee", 96, 128)
    picture = Image.fromarray(cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE)[..., ::-1])
    exif = picture.getexif()
    exif[0x0112] = 6
    (pairs / "HR" / "coffee.png").unlink()
    picture.save(pairs / "HR" / "coffee.jpg", exif=exif, quality=95)
    sample = dataset(pairs)[2]
    assert sample["gt"].shape == (3, 96, 128)
