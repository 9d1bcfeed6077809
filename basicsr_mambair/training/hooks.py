"""Replaces BasicSR's options, loaders, optimizers and checkpoints with this project's.

They are repairs like those of :mod:`basicsr_mambair.repairs`: each names the fault, checks that it
exists, and can be undone. What they install is part of the run, so they are declared here. A
script that calls BasicSR's pipelines itself gets them too.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from basicsr_mambair.repairs.repair import repair, replace, source_has
from mambair.errors import UserError
from mambair.imaging.errors import PictureError
from mambair.imaging.listing import as_list


@repair(
    "torchrun's --local-rank is not accepted; results go to site-packages; path.experiments_root "
    "is ignored; a list of data roots crashes; unknown keys pass silently",
    thread="BasicSR#626; basicsr/utils/options.py, parse_options",
)
def option_loading() -> bool:
    """Loads and checks option files by the same code as this project's commands."""
    import basicsr.test
    import basicsr.train  # noqa: F401  (both hold a name of their own for parse_options)
    from basicsr.utils import options

    if not source_has(options.parse_options, "'--local_rank', type=int"):
        return False

    def parse_options(
        root_path: str, is_train: bool = True
    ) -> tuple[dict[str, Any], argparse.Namespace]:
        from basicsr_mambair.training.arguments import parse_command_line
        from basicsr_mambair.training.preparation import prepare_run

        arguments = parse_command_line("train" if is_train else "test")
        options = prepare_run(arguments, root_path, is_train)
        return options, argparse.Namespace(**vars(arguments))

    replace(options, "parse_options", parse_options)
    return True


@repair(
    "an experiment's copy of its option file is written in the encoding of the locale, and would "
    "lack what the file extends",
    thread="mmdetection#8732; basicsr/utils/options.py, copy_opt_file",
)
def option_copies() -> bool:
    """Writes the complete options of a run to its folder, as UTF-8."""
    from basicsr.utils import options
    from basicsr.utils.dist_util import master_only

    if not source_has(options.copy_opt_file, "copyfile(opt_file, filename)"):
        return False

    def copy_opt_file(opt_file: str, experiments_root: str) -> None:
        from basicsr_mambair.options import composed_text

        source = Path(opt_file)
        text = composed_text(opt_file) or source.read_text(encoding="utf-8")
        header = f"# GENERATE TIME: {time.asctime()}\n# CMD:\n# {' '.join(sys.argv)}\n\n"
        # An argument that the locale could not decode holds lone surrogates.
        content = (header + text).encode("utf-8", "backslashreplace")
        (Path(experiments_root) / source.name).write_bytes(content)

    replace(options, "copy_opt_file", master_only(copy_opt_file))
    return True


@repair(
    'a checkpoint that cannot be written is logged and forgotten: "Just ignore it."',
    thread="basicsr/models/base_model.py, save_network, save_training_state",
)
def checkpoint_writes() -> bool:
    """Writes checkpoints atomically; a failure ends the run with an error."""
    from basicsr.models.base_model import BaseModel
    from basicsr.utils.dist_util import master_only

    if not source_has(BaseModel.save_network, "Just ignore it"):
        return False
    from basicsr_mambair.training import checkpoints

    replace(BaseModel, "save_network", master_only(checkpoints.save_network))
    replace(BaseModel, "save_training_state", master_only(checkpoints.save_training_state))
    return True


@repair(
    "weights that do not fit raise a page of keys; safetensors cannot be read",
    thread="basicsr/models/base_model.py, load_network; MambaIR#9, #21, #22, #70, #116, #135",
)
def checkpoint_reads() -> bool:
    """Reads .pth and .safetensors; reports in a few lines what does not fit."""
    from basicsr.models.base_model import BaseModel

    if not source_has(BaseModel.load_network, "torch.load(load_path, map_location=lambda"):
        return False
    from basicsr_mambair.training import checkpoints

    replace(BaseModel, "load_network", checkpoints.load_network)
    return True


@repair(
    "a data set whose folders do not match ends in an AssertionError that names none, and one "
    "without pictures is measured as if it had some",
    thread="basicsr/data/data_util.py, paired_paths_from_folder",
)
def dataset_building() -> bool:
    """Names the folders of a data set that cannot be built."""
    import basicsr.data
    from basicsr.data.data_util import paired_paths_from_folder

    if not source_has(paired_paths_from_folder, "assert len(input_paths) == len(gt_paths)"):
        return False
    original = basicsr.data.build_dataset

    def build_dataset(dataset_opt: dict[str, Any]) -> Any:
        kind = dataset_opt["type"]
        roots = [value for key, value in dataset_opt.items() if key.startswith("dataroot")]
        named = ", ".join(dict.fromkeys(str(each) for root in roots for each in as_list(root)))
        try:
            dataset = original(dataset_opt)
        except UserError:
            raise
        except (AssertionError, OSError, LookupError, UnicodeError) as error:
            reason = f"there is no {error}" if isinstance(error, LookupError) else error
            raise PictureError(f"{named}: cannot be read by {kind}: {reason}") from error
        if len(dataset) == 0:
            raise PictureError(f"{named}: {kind} finds no picture there")
        return dataset

    replace(basicsr.data, "build_dataset", build_dataset)
    return True


@repair(
    "numpy and random are seeded alike in every epoch, so crops repeat; a spawned worker imports "
    "BasicSR unrepaired; prefetch_mode: cpu hangs with persistent_workers",
    thread="basicsr/data/__init__.py, worker_init_fn; YOLOX#333",
)
def loader_workers() -> bool:
    """Seeds every sample by its place in the run; repairs BasicSR in the workers."""
    import basicsr.data

    if not source_has(basicsr.data.worker_init_fn, "num_workers * rank + worker_id + seed"):
        return False
    original = basicsr.data.build_dataloader
    from basicsr.utils.dist_util import get_dist_info

    from basicsr_mambair.training.loaders import SeededDataset, adapt_section, prepare_loader

    def build_dataloader(
        dataset: Any,
        dataset_opt: dict[str, Any],
        num_gpu: int = 1,
        dist: bool = False,
        sampler: Any = None,
        seed: int | None = None,
    ) -> Any:
        dataset = SeededDataset(dataset, seed, by_index=dataset_opt["phase"] != "train")
        loader = original(dataset, adapt_section(dataset_opt), num_gpu, dist, sampler, seed)
        prepare_loader(loader, dataset_opt, sampler, seed, rank=get_dist_info()[0])
        return loader

    replace(basicsr.data, "build_dataloader", build_dataloader)
    return True


@repair(
    "resuming requires a CUDA device, looks under ./experiments whatever the root, repeats the "
    "epoch's samples and restores no random state; what an epoch leaves over is never trained on; "
    "the last validation is made twice and the remaining time is negative",
    thread="basicsr/train.py, train_pipeline; BasicSR#593, HAT#114",
)
def training_pipeline() -> bool:
    """Trains by a loop that can begin anywhere and repeats nothing."""
    import basicsr.train

    if not source_has(basicsr.train.train_pipeline, "prefetcher.reset()"):
        return False
    from basicsr_mambair.training.pipeline import run_training

    def train_pipeline(root_path: str) -> None:
        options, arguments = basicsr.train.parse_options(root_path, is_train=True)
        run_training(options, arguments.opt, root_path)

    replace(basicsr.train, "train_pipeline", train_pipeline)
    return True


@repair("Adam is the only optimizer", thread="basicsr/models/base_model.py, get_optimizer")
def every_optimizer() -> bool:
    """Accepts any optimizer of ``torch.optim`` by its name."""
    from basicsr.models.base_model import BaseModel

    if not source_has(BaseModel.get_optimizer, "is not supperted yet"):
        return False

    def get_optimizer(self: Any, optim_type: str, params: Any, **kwargs: Any) -> Any:
        from basicsr_mambair.options.optimizers import optimizer_class

        return optimizer_class(optim_type)(params, **kwargs)

    replace(BaseModel, "get_optimizer", get_optimizer)
    return True


@repair(
    "setup_schedulers knows two schedules, not that of Restormer's recipes",
    thread="basicsr/models/base_model.py, setup_schedulers",
)
def every_scheduler() -> bool:
    """Adds ``CosineAnnealingRestartCyclicLR``."""
    from basicsr.models.base_model import BaseModel

    if source_has(BaseModel.setup_schedulers, "CosineAnnealingRestartCyclicLR"):
        return False
    original = BaseModel.setup_schedulers

    def setup_schedulers(self: Any) -> None:
        from basicsr_mambair.training.schedules import CosineAnnealingRestartCyclicLR

        section = self.opt["train"]["scheduler"]
        if section["type"] != CosineAnnealingRestartCyclicLR.__name__:
            original(self)
            return
        del section["type"]  # as BasicSR does
        for optimizer in self.optimizers:
            self.schedulers.append(CosineAnnealingRestartCyclicLR(optimizer, **section))

    replace(BaseModel, "setup_schedulers", setup_schedulers)
    return True


@repair(
    "a result that is not finite is measured as if it were a picture (7.85 dB); a measurement "
    "reports the best of one: 'Best: 37.1 @ test_tiny_x2 iter'; of several processes only the "
    "first validates",
    thread="basicsr/models/sr_model.py, nondist_validation, dist_validation, "
    "_log_validation_metric_values",
)
def validation_results() -> bool:
    """Names pictures whose result is not finite; all processes share the pictures."""
    from basicsr.models.sr_model import SRModel

    if not source_has(SRModel._log_validation_metric_values, "'best_metric_results'"):
        return False
    from basicsr_mambair.training import results
    from basicsr_mambair.training.sharing import validate_shared

    validate, write = SRModel.nondist_validation, SRModel._log_validation_metric_values

    def nondist_validation(self: Any, dataloader: Any, *arguments: Any) -> None:
        results.validate_finite(self, validate, dataloader, *arguments)

    def _log_validation_metric_values(self: Any, *arguments: Any) -> None:
        results.log_figures(self, write, *arguments)

    replace(SRModel, "dist_validation", validate_shared)
    replace(SRModel, "nondist_validation", nondist_validation)
    replace(SRModel, "_log_validation_metric_values", _log_validation_metric_values)
    return True
