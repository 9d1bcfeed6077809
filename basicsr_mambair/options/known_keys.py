"""The keys that BasicSR reads one by one; a test compares them with BasicSR's source."""

from __future__ import annotations


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


TOP = _keys(
    """name model_type scale num_gpu manual_seed datasets path train val logger dist_params
    find_unused_parameters published imports
    queue_size gt_size resize_prob resize_range gaussian_noise_prob noise_range poisson_scale_range
    gray_noise_prob jpeg_range second_blur_prob resize_prob2 resize_range2 gaussian_noise_prob2
    noise_range2 poisson_scale_range2 gray_noise_prob2 jpeg_range2 gt_usm l1_gt_usm percep_gt_usm
    gan_gt_usm high_order_degradation
    """
)
# Sections of train that build something, beside its plain keys.
LOSSES = _keys("pixel_opt perceptual_opt gan_opt ldl_opt feature_matching_opt")
OPTIMIZERS = _keys("optim_g optim_d")
TRAIN = (
    LOSSES
    | OPTIMIZERS
    | _keys(
        """ema_decay scheduler total_iter warmup_iter net_d_iters net_d_init_iters
        net_g_reg_every net_d_reg_every r1_reg_weight path_reg_weight path_batch_shrink mixing_prob
        fix_flow flow_lr_mul lr_flow dcn_lr_mul tsa_iter
        grad_clip_norm gradient_accumulation warm_start amp compile"""
    )
)
VAL = _keys(
    """val_freq save_img suffix metrics pbar tile tile_overlap baseline self_ensemble
    center_frame_only flip_seq num_val_samples"""
)
PUBLISHED = _keys("task setting method")  # where `basicsr report` finds published figures
PUBLISHED_TASKS = ("sr", "jpeg", "denoising_color")
LOGGER = _keys("print_freq save_checkpoint_freq use_tb_logger wandb")
PATH = _keys("resume_state ignore_resume_networks experiments_root results_root root")
# Of path, for every network: pretrain_network_g, strict_load_g, param_key_g
NETWORK_PATHS = ("pretrain_network_{}", "strict_load_{}", "param_key_{}")
# Every dataset section, whatever its type
LOADER = _keys(
    """name type phase scale num_worker_per_gpu batch_size_per_gpu dataset_enlarge_ratio
    prefetch_mode num_prefetch_queue pin_memory persistent_workers use_shuffle"""
)
# BasicSR's own datasets
STOCK_DATASET = LOADER | _keys(
    """dataroot_gt dataroot_lq meta_info_file meta_info io_backend filename_tmpl gt_size use_hflip
    use_rot color mean std
    dataroot_flow num_frame interval_list random_reverse flip_sequence test_mode val_partition
    cache_data padding use_duf_downsampling num_gpu
    blur_kernel_size blur_kernel_size2 kernel_list kernel_list2 kernel_prob kernel_prob2 blur_sigma
    blur_sigma2 betag_range betag_range2 betap_range betap_range2 sinc_prob sinc_prob2
    final_sinc_prob"""
)
# What BasicSR calls its schedulers, and the classes behind the names.
SCHEDULERS = {
    "MultiStepLR": "MultiStepRestartLR",
    "MultiStepRestartLR": "MultiStepRestartLR",
    "CosineAnnealingRestartLR": "CosineAnnealingRestartLR",
}
IO_BACKENDS = ("disk", "lmdb", "memcached")
