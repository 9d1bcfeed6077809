"""BasicSR's own datasets and models, as types; a test compares them with BasicSR's source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from basicsr_mambair.options.fields import option
from basicsr_mambair.options.sections import (
    CropOptions,
    DatasetOptions,
    TopOptions,
    TrainOptions,
    ValOptions,
)

Pair = tuple[float, float]


@dataclass(frozen=True)
class ModelOptions:
    """The options that a model reads: the types of the top level, of ``train`` and of ``val``.

    A model of one's own names one as its class attribute ``OPTIONS``.

    Attributes:
        top: keys at the top of the file.
        train: keys of ``train``.
        val: keys of ``val``.
        networks: sections of networks that must be there.
        needs_loss: whether it cannot train without a loss of pixels or features.
        every_loss: whether it computes every ``*_opt`` section of ``train``.
        schedule_free: whether it switches schedule-free optimizers between training and use.
    """

    top: type = TopOptions
    train: type = TrainOptions
    val: type = ValOptions
    networks: tuple[str, ...] = ("network_g",)
    needs_loss: bool = False
    every_loss: bool = False
    schedule_free: bool = False


@dataclass
class PairOptions(CropOptions, DatasetOptions):
    """Keys of `PairedImageDataset` of BasicSR."""

    dataroot_gt: str = option(doc="Folder of true pictures.")
    dataroot_lq: str = option(doc="Folder of pictures to restore.")
    meta_info_file: str | None = option(None, doc="File that names the pictures, one on each line.")
    filename_tmpl: str = option(
        "{}", doc="Name of a picture to restore after that of the true one: `{}x2`."
    )


@dataclass
class RealPairOptions(CropOptions, DatasetOptions):
    """Keys of `RealESRGANPairedDataset`."""

    dataroot_gt: str = option(doc="Folder of true pictures.")
    dataroot_lq: str = option(doc="Folder of pictures to restore.")
    meta_info: str | None = option(None, doc="File that names the pairs, one on each line.")
    filename_tmpl: str = option("{}", doc="Name of an LQ file; {} is that of the GT file.")


@dataclass
class SingleOptions(DatasetOptions):
    """Keys of `SingleImageDataset`, which has no true pictures."""

    has_truth: ClassVar[bool] = False

    dataroot_lq: str = option(doc="Folder of pictures to restore.")
    meta_info_file: str = option(
        required=False, doc="File that names the pictures, one on each line."
    )
    color: Literal["y"] | None = option(None, doc="y: the luma of YCbCr alone.")
    mean: list[float] | None = option(None, doc="Subtracted, one number a channel.")
    std: list[float] | None = option(None, doc="Divisor, one number a channel.", gt=0)


@dataclass
class FaceOptions(DatasetOptions):
    """Keys of `FFHQDataset`, which has no pictures to restore."""

    has_truth: ClassVar[bool] = False

    dataroot_gt: str = option(doc="LMDB or folder of the 70,000 pictures.")
    use_hflip: bool = option(doc="Flip pictures left–right at random.")
    mean: list[float] = option(doc="Subtracted, one number a channel.")
    std: list[float] = option(doc="Divisor, one number a channel.", gt=0)


def kernel_options(second: str = "") -> dict[str, Any]:
    """Declares the keys of the blur of one of the two stages: type and arguments of `option`."""
    which = "second" if second else "first"
    return {
        f"blur_kernel_size{second}": (int, dict(doc=f"Largest side of the {which} blur.", ge=7)),
        f"kernel_list{second}": (list[str], dict(doc=f"Kinds of the {which} blur.")),
        f"kernel_prob{second}": (
            list[float],
            dict(doc=f"Probabilities of the kinds of the {which} blur.", ge=0, le=1),
        ),
        f"sinc_prob{second}": (
            float,
            dict(doc=f"Probability that the {which} blur is a sinc.", ge=0, le=1),
        ),
        f"blur_sigma{second}": (Pair, dict(doc=f"Range of σ of the {which} blur.", ge=0)),
        f"betag_range{second}": (Pair, dict(doc="Range of β of generalized kernels.", ge=0)),
        f"betap_range{second}": (Pair, dict(doc="Range of β of plateau kernels.", ge=0)),
    }


@dataclass
class RealOptions(DatasetOptions):
    """Keys of `RealESRGANDataset`, without those of its two blurs."""

    dataroot_gt: str = option(doc="Folder of true pictures, or LMDB.")
    meta_info: str = option(doc="File that names the pictures, one on each line.")
    use_hflip: bool = option(True, doc="Flip crops left–right at random.", filled=True)
    use_rot: bool = option(True, doc="Flip up–down and transpose at random.", filled=True)
    gt_size: int = option(required=False, doc="Ignored here; the model reads `gt_size` at the top.")
    final_sinc_prob: float = option(doc="Probability of a sinc at the end.", ge=0, le=1)


def with_fields(base: type, declared: dict[str, Any]) -> type:
    """A dataclass with more keys than ``base``: those that come once for each of two stages."""
    annotations = {name: kind for name, (kind, _) in declared.items()}
    fields = {name: option(**arguments) for name, (_, arguments) in declared.items()}
    body = {"__annotations__": annotations, "__doc__": base.__doc__, "__module__": __name__}
    return dataclass(type(base.__name__, (base,), {**body, **fields}))


@dataclass
class VideoTrainOptions(CropOptions, DatasetOptions):
    """Keys of `REDSDataset` and `REDSRecurrentDataset`."""

    dataroot_gt: str = option(doc="Folder of true clips.")
    dataroot_lq: str = option(doc="Folder of clips to restore.")
    dataroot_flow: str | None = option(None, doc="Folder of optical flow.")
    meta_info_file: str = option(doc="File that names the clips, one on each line.")
    num_frame: int = option(doc="Frames of a sample.", ge=1, le=10**4)
    interval_list: list[int] = option([1], doc="Steps between frames to draw from.", ge=1)
    random_reverse: bool = option(False, doc="Reverse clips at random.")
    val_partition: Literal["REDS4", "official"] = option("REDS4", doc="Clips kept for validation.")
    test_mode: bool = option(False, doc="Train on the validation clips too.")
    flip_sequence: bool = option(False, doc="Append the clip in reverse.")


@dataclass
class VimeoOptions(CropOptions, DatasetOptions):
    """Keys of `Vimeo90KDataset` and `Vimeo90KRecurrentDataset`."""

    dataroot_gt: str = option(doc="Folder of true clips.")
    dataroot_lq: str = option(doc="Folder of clips to restore.")
    meta_info_file: str = option(doc="File that names the clips, one on each line.")
    num_frame: int = option(doc="Frames of a sample.", ge=1, le=7)
    random_reverse: bool = option(False, doc="Reverse clips at random.")
    flip_sequence: bool = option(False, doc="Append the clip in reverse.")


@dataclass
class VideoTestOptions(DatasetOptions):
    """Keys of the datasets that measure on video."""

    dataroot_gt: str = option(doc="Folder of true clips.")
    dataroot_lq: str = option(doc="Folder of clips to restore.")
    meta_info_file: str | None = option(None, doc="File that names the clips, one on each line.")
    num_frame: int = option(required=False, doc="Frames of a sample.", ge=1, le=10**4)
    cache_data: bool = option(False, doc="Keep decoded frames.", filled=True)
    padding: Literal["replicate", "reflection", "reflection_circle", "circle"] = option(
        "reflection", doc="Frames before the first and after the last."
    )
    use_duf_downsampling: bool = option(False, doc="Make the input by DUF's blur.")


STOCK_DATASETS: dict[str, type] = {
    "PairedImageDataset": PairOptions,
    "SingleImageDataset": SingleOptions,
    "FFHQDataset": FaceOptions,
    "RealESRGANDataset": with_fields(RealOptions, kernel_options() | kernel_options("2")),
    "RealESRGANPairedDataset": RealPairOptions,
    "REDSDataset": VideoTrainOptions,
    "REDSRecurrentDataset": VideoTrainOptions,
    "Vimeo90KDataset": VimeoOptions,
    "Vimeo90KRecurrentDataset": VimeoOptions,
    "VideoTestDataset": VideoTestOptions,
    "VideoTestVimeo90KDataset": VideoTestOptions,
    "VideoTestDUFDataset": VideoTestOptions,
    "VideoRecurrentTestDataset": VideoTestOptions,
}


def degradation_options(second: str = "") -> dict[str, Any]:
    """Declares the keys of one of the two stages: type and arguments of `option`."""
    chance = dict(ge=0, le=1)
    which = "second" if second else "first"
    return {
        f"resize_prob{second}": (
            tuple[float, float, float],
            dict(doc=f"Probabilities that the {which} step enlarges, shrinks, keeps.", **chance),
        ),
        f"resize_range{second}": (Pair, dict(doc="Range of the factor.", gt=0, le=64)),
        f"gaussian_noise_prob{second}": (
            float,
            dict(doc="Probability of Gaussian noise; else Poisson's.", **chance),
        ),
        f"noise_range{second}": (Pair, dict(doc="Range of σ of Gaussian noise.", ge=0)),
        f"poisson_scale_range{second}": (Pair, dict(doc="Range of Poisson noise.", ge=0)),
        f"gray_noise_prob{second}": (float, dict(doc="Probability of gray noise.", **chance)),
        f"jpeg_range{second}": (Pair, dict(doc="Range of JPEG quality.", ge=0, le=100)),
    }


@dataclass
class _RealTop(TopOptions):
    """The degradation on the fly."""

    scale: int = option(doc="Factor by which the network enlarges.", ge=1, le=64)
    gt_size: int = option(doc="Side of the crops, in pixels of the result.", ge=1, le=2**20)
    queue_size: int = option(180, doc="Pairs that are mixed between batches.", ge=1)
    second_blur_prob: float = option(doc="Probability of the second blur.", ge=0, le=1)
    high_order_degradation: bool = option(True, doc="Degrade on the fly; else read pairs.")


RealTop = with_fields(_RealTop, degradation_options() | degradation_options("2"))


@dataclass
class RealNetTop(RealTop):  # type: ignore[misc,valid-type]  # made of two stages at run time
    """Top of `RealESRNetModel`."""

    gt_usm: bool = option(doc="Sharpen the true pictures.")


@dataclass
class RealGanTop(RealTop):  # type: ignore[misc,valid-type]  # made of two stages at run time
    """Top of `RealESRGANModel`."""

    l1_gt_usm: bool = option(doc="Sharpen the truth of the pixel loss.")
    percep_gt_usm: bool = option(doc="Sharpen the truth of the perceptual loss.")
    gan_gt_usm: bool = option(doc="Sharpen the truth that the discriminator sees.")


@dataclass
class GanTrain(TrainOptions):
    """`train` of the models with a discriminator."""

    gan_opt: dict[str, Any] = option(doc="Adversarial loss: `type`, arguments.")
    ldl_opt: dict[str, Any] | None = option(None, doc="Locally discriminative loss.")
    optim_d: dict[str, Any] = option(doc="Optimizer of the discriminator.")
    net_d_iters: int = option(1, doc="Steps of the discriminator for one of the network.", ge=1)
    net_d_init_iters: int = option(0, doc="Steps of the discriminator alone at first.", ge=0)


@dataclass
class FaceGanTrain(GanTrain):
    """`train` of `HiFaceGANModel`."""

    feature_matching_opt: dict[str, Any] | None = option(None, doc="Feature matching loss.")


@dataclass
class StyleGanTrain(GanTrain):
    """`train` of `StyleGAN2Model`."""

    scheduler: dict[str, Any] = option(required=False, doc="Schedule of the learning rates.")
    net_g_reg_every: int = option(doc="Iterations between regularizations of G.", ge=1)
    net_d_reg_every: int = option(doc="Iterations between regularizations of D.", ge=1)
    r1_reg_weight: float = option(doc="Weight of R1 regularization.", ge=0)
    path_reg_weight: float = option(doc="Weight of path length regularization.", ge=0)
    path_batch_shrink: int = option(doc="Divisor of its batch.", ge=1)
    mixing_prob: float = option(doc="Probability of mixing styles.", ge=0, le=1)


@dataclass
class StyleGanVal(ValOptions):
    """`val` of `StyleGAN2Model`."""

    num_val_samples: int = option(16, doc="Pictures to generate.", ge=1)


@dataclass
class EdvrTrain(TrainOptions):
    """`train` of `EDVRModel`."""

    dcn_lr_mul: float = option(1, doc="Factor of the rate of deformable convolutions.", ge=0)
    tsa_iter: int = option(required=False, doc="Iterations of the fusion module alone.", ge=1)


@dataclass
class RecurrentTrain(TrainOptions):
    """`train` of `VideoRecurrentModel`."""

    fix_flow: int = option(required=False, doc="Iterations with the flow network fixed.", ge=1)
    flow_lr_mul: float = option(1, doc="Factor of the rate of the flow network.", ge=0)


@dataclass
class RecurrentGanTrain(GanTrain):
    """`train` of `VideoRecurrentGANModel`."""

    fix_flow: int = option(required=False, doc="Iterations with the flow network fixed.", ge=1)
    flow_lr_mul: float = option(1, doc="Factor of the rate of the flow network.", ge=0)
    lr_flow: float = option(required=False, doc="Rate of the flow network.", ge=0)


@dataclass
class RecurrentVal(ValOptions):
    """`val` of the recurrent models."""

    center_frame_only: bool = option(False, doc="Measure the middle frame alone.")
    flip_seq: bool = option(False, doc="The clips hold themselves in reverse.")


_GAN = ("network_g", "network_d")
# A model without an entry has that of the class it is derived from.
STOCK_MODELS: dict[str, ModelOptions] = {
    "SRModel": ModelOptions(needs_loss=True),
    "SRGANModel": ModelOptions(train=GanTrain, networks=_GAN),
    "RealESRNetModel": ModelOptions(top=RealNetTop, needs_loss=True),
    "RealESRGANModel": ModelOptions(top=RealGanTop, train=GanTrain, networks=_GAN),
    "HiFaceGANModel": ModelOptions(train=FaceGanTrain, networks=_GAN),
    "StyleGAN2Model": ModelOptions(train=StyleGanTrain, val=StyleGanVal, networks=_GAN),
    "EDVRModel": ModelOptions(train=EdvrTrain, needs_loss=True),
    "VideoRecurrentModel": ModelOptions(train=RecurrentTrain, val=RecurrentVal, needs_loss=True),
    "VideoRecurrentGANModel": ModelOptions(
        train=RecurrentGanTrain, val=RecurrentVal, networks=_GAN
    ),
}


def options_of_model(model: type) -> tuple[ModelOptions, bool]:
    """Returns a model's options, and whether they are declared for the class itself or a base."""
    for cls in model.__mro__:
        declared = cls.__dict__.get("OPTIONS") or (
            STOCK_MODELS.get(cls.__name__) if cls.__module__.startswith("basicsr.") else None
        )
        if isinstance(declared, ModelOptions):
            foreign = not model.__module__.startswith(("basicsr.", "basicsr_mambair."))
            return declared, not (foreign and cls is not model)
    return ModelOptions(networks=()), False
