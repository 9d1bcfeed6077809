"""Every option file of the project: its network, its recipe, and its data on a miniature tree."""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from basicsr_mambair.options import load_options
from mambair.complexity import measure_network
from tests.conftest import ROOT, photograph
from tests.matlab_files import dnd, sidd_pair

FOLDER = ROOT / "options"
OPTION_FILES = sorted([*(FOLDER / "train").glob("*.yml"), *(FOLDER / "test").glob("*.yml")])

# Trainable parameters: sections 4 and 7 of the specification; the tiny ones are ours.
PARAMETERS = {
    "mambairv2_light_x2": 774_092,
    "mambairv2_light_x3": 780_587,
    "mambairv2_light_x4": 789_680,
    "mambairv2_s_x2": 9_621_935,
    "mambairv2_s_x3": 9_806_575,
    "mambairv2_s_x4": 9_769_647,
    "mambairv2_b_x2": 22_903_001,
    "mambairv2_b_x3": 23_087_641,
    "mambairv2_b_x4": 23_050_713,
    "mambairv2_l_x2": 34_090_523,
    "mambairv2_l_x3": 34_275_163,
    "mambairv2_l_x4": 34_238_235,
    "mambairv2_jpeg": 22_651_705,
    "mambairv2_denoising_color": 22_657_971,
    "mambairv2_denoising_gray": 22_651_705,  # as for JPEG: img_size has no parameters
    "mambair_x2": 20_421_863,
    "mambair_x3": 20_606_503,
    "mambair_x4": 20_569_575,
    "mambair_real_denoising": 26_779_480,
    "mambair_light_x2": 905_016,
    "mambair_light_x3": 913_131,
    "mambair_light_x4": 924_492,
    "tiny_x2": 257_988,
    "tiny_x3": 264_483,
    "tiny_x4": 273_576,
    "tiny_jpeg": 252_361,
    "tiny_denoising": 254_091,
    "tiny_photo_x1": 254_091,
    "tiny_photo_x2": 257_988,
    "tiny_photo_x4": 273_576,
    "quickstart": 89_508,
    "real_b_x2_1": 22_903_001,
    "real_b_x2_2": 22_903_001,
    "real_b_x4_1": 22_866_073,
    "real_b_x4_2": 22_866_073,
    "real_b_x4_from_classic": 23_050_713,
    "real_b_x4_pairs": 22_866_073,
    "real_light_x2_1": 774_092,
    "real_light_x2_2": 774_092,
    "real_light_x4_1": 909_123,
    "real_light_x4_2": 909_123,
    "real_miniature_1": 89_508,
    "real_miniature_2": 89_508,
    "real_denoising_miniature": 3_252_160,
    "mambairv2unet_real_denoising": 25_942_360,
    "mambairv2unet_deraining": 25_942_360,
    "mambairv2unet_deblurring": 25_942_360,
    "mambairv2unet_real_denoising_sidd": 25_942_360,
    "camera_comparison_mambairunet": 2_590_579,
    "camera_comparison_mambairv2unet": 706_340,
    "mambair_real_denoising_sidd": 26_779_480,
    "mambair_real_denoising_dnd": 26_779_480,
}
# MambaIR with mlp_ratio 1.2: the specification gives no count, so E, R and the heads are checked.
WITHOUT_COUNT = ("mambair_jpeg", "mambair_denoising_color")

# Data sets that are MATLAB files, and what writes one where `dataroot_lq` says.
BENCHMARKS = {
    "SIDDBlocksDataset": lambda path: sidd_pair(path.parent, "5"),
    "DNDDataset": lambda path: dnd(path, "7.3"),
}


def is_train(path: Path) -> bool:
    return path.parent.name == "train"


def row(path: Path) -> str:
    """The file's name without quality or noise level."""
    return re.sub(r"_(10|15|20|25|30|40|50)$", "", path.stem)


def options_of(path: Path) -> dict:
    """The options, without a look at the files that they name."""
    return copy.deepcopy(_loaded(path))


@functools.cache
def _loaded(path: Path) -> dict:
    return load_options(path, is_train=is_train(path), check_files=False)


def with_path(files: list[Path] = OPTION_FILES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", files, ids=lambda p: f"{p.parent.name}/{p.stem}")


def test_every_row_has_its_files() -> None:
    names = {f"{path.parent.name}/{path.stem}" for path in OPTION_FILES}
    sr = [f"{net}_x{s}" for s in (2, 3, 4)
          for net in ("mambairv2_light", "mambairv2_s", "mambairv2_b", "mambairv2_l",
                      "mambair", "mambair_light")]  # fmt: skip
    jpeg = [f"{net}_jpeg_{q}" for q in (10, 30, 40) for net in ("mambairv2", "mambair")]
    kinds = ("mambairv2_denoising_color", "mambairv2_denoising_gray", "mambair_denoising_color")
    noise = [f"{kind}_{sigma}" for sigma in (15, 25, 50) for kind in kinds]
    wanted = {f"{kind}/{name}" for name in sr + jpeg + noise for kind in ("train", "test")}
    assert wanted <= names


@with_path()
def test_network(path: Path) -> None:
    from basicsr.archs import build_network

    options = options_of(path)
    with torch.device("meta"):
        net = build_network(options["network_g"])
    assert net.upscale == options["scale"]
    if row(path) in WITHOUT_COUNT:
        block = net.layers[5].residual_group.blocks[5].self_attention
        assert block.A_logs.shape == (4 * 216, 16)
        assert block.dt_projs_weight.shape == (4, 216, 12)
        assert net.in_chans == (1 if "jpeg" in path.stem else 3)
        assert net.conv_last.weight.shape[:2] == (net.in_chans, 180)
    else:
        assert sum(p.numel() for p in net.parameters()) == PARAMETERS[row(path)]


@pytest.fixture(scope="module")
def data_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Under ``datasets/``, one picture in every folder that the option files name."""
    root = tmp_path_factory.mktemp("tree")
    picture = cv2.resize(photograph("coffee", 264, 264), (384, 384))  # of the largest crop
    for path in OPTION_FILES:
        for section in options_of(path)["datasets"].values():
            if section["type"] in BENCHMARKS:
                BENCHMARKS[section["type"]](root / section["dataroot_lq"])
                continue
            for name in _listed(section["dataroot_gt"]):
                if not name.startswith("pkg://"):
                    included = section.get("include", ["a.png"])
                    for file in included:
                        _write(root / name / file, picture)
            for name in _listed(section.get("dataroot_lq")):
                scale = int((re.search(r"X(\d)$", name) or "x1")[1])
                side = len(picture) // scale
                file = section.get("filename_tmpl", "{}").format("a")
                file += ".jpg" if "JPEG" in name else ".png"
                _write(root / name / file, cv2.resize(picture, (side, side)))
    return root


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def _write(path: Path, image: Any) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)


@with_path()
def test_data(path: Path, data_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every data set is found, and gives a sample that the network takes."""
    from basicsr.data import build_dataset

    monkeypatch.chdir(data_tree)
    options = options_of(path)
    pretrained = options["path"].get("pretrain_network_g")
    if pretrained:
        Path(pretrained).parent.mkdir(parents=True, exist_ok=True)
        Path(pretrained).touch()
    options = load_options(path, is_train=is_train(path), fetch=False)
    for key, section in options["datasets"].items():
        section |= {"phase": key.split("_")[0], "scale": options["scale"]}
        sample = build_dataset(section)[0]
        if "lq" not in sample:  # the model makes it
            assert sample["gt"].shape == (3, section["crop_size"], section["crop_size"])
            assert section["crop_size"] >= options["gt_size"]
            continue
        network = options["network_g"]
        assert sample["lq"].shape[0] == network.get("in_chans", network.get("inp_channels")), key
        if "gt" not in sample:  # DND has no truth
            assert section["type"] == "DNDDataset"
            continue
        expected = [side * options["scale"] for side in sample["lq"].shape[1:]]
        assert list(sample["gt"].shape[1:]) == expected, key
        if key == "train":
            assert sample["gt"].shape[1] == section["gt_size"]


# Those of the specification's section 5: Adam, halved learning rates.
HALVED = re.compile(r"mambair(v2)?_(?!.*real)")


@with_path([path for path in OPTION_FILES if is_train(path) and HALVED.match(path.stem)])
def test_recipe(path: Path) -> None:
    """Section 5 of the specification, with its two corrections."""
    options = options_of(path)
    data, train = options["datasets"]["train"], options["train"]
    lr, total = train["optim_g"]["lr"], train["total_iter"]
    milestones = train["scheduler"]["milestones"]
    assert train["optim_g"]["betas"] == [0.9, 0.99]
    assert (train["optim_g"]["weight_decay"], train["warmup_iter"]) == (0, -1)
    assert train["scheduler"]["gamma"] == 0.5
    if options["scale"] > 1:
        light = "light" in path.stem
        assert data["gt_size"] == {2: 128, 3: 192, 4: 256}[options["scale"]]
        assert data["batch_size_per_gpu"] == (16 if light else 4)
        assert train["pixel_opt"]["type"] == "L1Loss"
        first = light or options["scale"] == 2
        whole, its_milestones = 500_000, [250_000, 400_000, 450_000, 475_000]
    else:
        assert data["gt_size"] == (126 if "jpeg" in path.stem else 128)
        assert data["batch_size_per_gpu"] == 2
        assert (train["pixel_opt"]["type"], train["pixel_opt"]["eps"]) == ("CharbonnierLoss", 1e-3)
        assert len(data["dataroot_gt"]) == 4
        first = path.stem.endswith(("jpeg_40", "_15"))
        whole, its_milestones = 1_600_000, [800_000, 1_200_000, 1_400_000, 1_500_000]
    part = 1 if first else 2
    assert (lr, total) == (2e-4 / part, whole // part)
    assert milestones == [each // part for each in its_milestones]
    assert bool(options["path"].get("pretrain_network_g")) is not first


@pytest.mark.parametrize(
    "name",
    ["mambair_real_denoising", "mambairv2unet_real_denoising", "mambairv2unet_deraining",
     "mambairv2unet_deblurring"],
)  # fmt: skip
def test_recipe_of_real_denoising(name: str) -> None:
    """Section 3 of the specification of MambaIRUNet, and what its keys mean."""
    options = options_of(FOLDER / "train" / f"{name}.yml")
    data, train = options["datasets"]["train"], options["train"]
    assert (options["model_type"], data["type"]) == ("ImageCleanModel", "Dataset_PairedImage")
    assert data["iters"] == [92_000, 64_000, 48_000, 36_000, 36_000, 24_000]
    assert data["gt_sizes"] == [128, 160, 192, 256, 320, 384]
    assert data["mini_batch_sizes"] == [8, 5, 4, 2, 1, 1]
    assert sum(data["iters"]) == train["total_iter"] == 300_000
    optimizer = {"type": "AdamW", "lr": 3e-4, "weight_decay": 1e-4, "betas": [0.9, 0.999]}
    assert train["optim_g"] == optimizer
    assert train["scheduler"] == {
        "type": "CosineAnnealingRestartCyclicLR", "periods": [92_000, 208_000],
        "restart_weights": [1, 1], "eta_mins": [3e-4, 1e-6],
    }  # fmt: skip
    mixup = "real_denoising" in name
    assert train["mixing_augs"] == {"mixup": mixup, "mixup_beta": 1.2, "use_identity": True}
    assert options["val"]["metrics"]["psnr"]["test_y_channel"] is ("deraining" in name)
    assert train["use_grad_clip"] is True
    assert (options["val"]["tile"], options["val"]["use_image"]) == ("none", False)


def test_cameras_are_compared_at_equal_cost() -> None:
    """The two files differ in the network alone, and the networks cost the same."""
    rivals = [
        options_of(FOLDER / "train" / f"camera_comparison_{network}.yml")
        for network in ("mambairunet", "mambairv2unet")
    ]
    macs = [measure_network(each.pop("network_g"), 256, 256).total_macs for each in rivals]
    assert abs(macs[0] - macs[1]) < 0.02 * macs[0]
    for each in rivals:
        del each["name"], each["path"]
    assert rivals[0] == rivals[1]


@with_path([path for path in OPTION_FILES if not is_train(path)])
def test_protocol(path: Path) -> None:
    """Section 6 of the specification."""
    options = options_of(path)
    metrics = options["val"].get("metrics", {})
    real = "real_denoising" in path.stem
    assert options["val"]["tile"] == ("none" if real else "authors")
    assert options["val"].get("use_image", True) is ("sidd" not in path.stem)
    for metric in metrics.values():
        assert metric["crop_border"] == (options["scale"] if options["scale"] > 1 else 0)
        assert metric.get("test_y_channel", False) is (options["scale"] > 1)
    if "jpeg" in path.stem:
        assert "psnrb" in metrics
    if "published" in options:
        tasks = ("sr", "jpeg", "denoising_color", "real_denoising")
        assert options["published"]["task"] in tasks
        setting = "1" if real else re.search(r"\d+$", path.stem)[0]
        assert str(options["published"]["setting"]) == setting


def test_everything_registered_builds_from_an_option_file() -> None:
    """Models and their networks; datasets are read above, the losses' tests go through all."""
    from basicsr.models import build_model
    from basicsr.utils import registry

    used = set()
    for path in OPTION_FILES:
        used |= {dataset["type"] for dataset in options_of(path)["datasets"].values()}
        if path.stem not in ("quickstart", "mambair_light_x2", "mambairv2_light_x2",
                             "mambairv2_jpeg_10", "real_denoising_miniature", "tiny_jpeg",
                             "real_miniature_1", "real_miniature_2",
                             "mambair_real_denoising_sidd",
                             "camera_comparison_mambairv2unet"):  # fmt: skip
            continue
        opt = options_of(path)
        opt.update(num_gpu=0, dist=False, rank=0, world_size=1, is_train=is_train(path))
        opt["path"]["pretrain_network_g"] = None
        used |= {opt["model_type"], opt["network_g"]["type"]}
        used |= {base.__name__ for base in type(build_model(opt)).__mro__}
        used |= {metric["type"] for metric in opt["val"]["metrics"].values()}
    registered = {
        name
        for key, each in vars(registry).items()
        if key.endswith("_REGISTRY") and key != "LOSS_REGISTRY"
        for name, entry in each
        if entry.__module__.split(".")[0] in ("mambair", "basicsr_mambair")
    }
    # An optional extra, and files to fetch: no option file of ours asks for these.
    metrics = {"calculate_dists", "calculate_lpips"}
    # Offered beside BasicSR's U-Net, which ours use; built and trained in their own tests.
    discriminators = {"PatchDiscriminatorSN", "MultiScaleDiscriminatorSN"}
    assert registered - used <= metrics | discriminators
