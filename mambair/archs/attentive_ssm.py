"""The attentive state-space module (ASSM) of MambaIRv2 (arXiv 2411.15269, section 3.3)."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mambair.archs.feedforward import convolve_tokens, depthwise_conv
from mambair.archs.selective_ssm import SelectiveSSM
from mambair.ops.dense import dense
from mambair.ops.gumbel import separate_keys, shared_keys
from mambair.ops.routing import Routes, route, route_softly, routes_of


class Routing(NamedTuple):
    """How tokens choose their prompt.

    ``global``: Gumbel noise from PyTorch's global generator, one tensor a block; ``seeded``: from a
    counter and the number ``seed``, touching no generator, the same for every batch element;
    ``fresh``: from a counter and the int32 tensor ``seed`` ``(1,)`` that the caller draws once a
    forward pass, different for every batch element, of which ``first`` is the number of the first;
    ``argmax``: no noise.
    """

    mode: Literal["global", "seeded", "fresh", "argmax"]
    seed: Any = 0
    first: Any = 0


class AttentiveSSM(nn.Module):
    """Routes every token to a prompt, orders the tokens by it, and scans them once.

    Args:
        dim: channels C.
        d_state: state size N.
        hidden_dim: inner width E of the scan.
        inner_rank: rank r of the prompt dictionary.
        num_tokens: prompts T in the dictionary.
        block_index: number of the block in the network; tells its seeded noise from the others'.
    """

    def __init__(
        self,
        dim: int,
        d_state: int,
        hidden_dim: int,
        inner_rank: int,
        num_tokens: int,
        block_index: int,
    ) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.block_index = block_index
        self.in_proj = nn.Sequential(nn.Conv2d(dim, hidden_dim, 1))
        self.CPE = nn.Sequential(depthwise_conv(hidden_dim, 3))
        self.selectiveScan = SelectiveSSM(hidden_dim, d_state, math.ceil(hidden_dim / 16))
        self.out_norm = nn.LayerNorm(hidden_dim)
        self.out_proj = nn.Linear(hidden_dim, dim)
        self.embeddingB = nn.Embedding(num_tokens, inner_rank)
        nn.init.uniform_(self.embeddingB.weight, -1 / num_tokens, 1 / num_tokens)
        self.route = nn.Sequential(
            nn.Linear(dim, dim // 3), nn.GELU(), nn.Linear(dim // 3, num_tokens)
        )

    def forward(self, x: Tensor, norm: nn.LayerNorm, embedding: Tensor, routing: Routing) -> Tensor:
        """Normalizes a token map, applies the module to it, and adds the map.

        Args:
            x: ``(B, H, W, C)``.
            norm: the normalization before the module, which is the block's.
            embedding: the block's half ``(r, N)`` of the prompt dictionary.
            routing: how tokens choose.

        Returns:
            ``(B, H, W, C)``.
        """
        inputs = norm(x)
        prompt, routes = self.choose_prompts(inputs.flatten(1, 2), embedding, routing)
        y = dense(inputs, self.in_proj[0])  # (B, H, W, E)
        y = y * torch.sigmoid(convolve_tokens(self.CPE, y))
        y = y.flatten(0, 2).index_select(0, routes.order).view(*prompt.shape[:2], 1, -1)
        # The prompt stays in raster order while the tokens do not: the authors keep it so, and
        # published weights expect it.
        y = self.selectiveScan.scan(y, prompt.unsqueeze(2))
        y = dense(y.flatten(0, 2), self.out_proj, norm=self.out_norm)
        return y.index_select(0, routes.inverse).view_as(x) + x

    def choose_prompts(
        self, x: Tensor, embedding: Tensor, routing: Routing
    ) -> tuple[Tensor, Routes]:
        """Chooses the prompts ``(B, L, N)`` and the routes of tokens ``(B, L, C)``."""
        dictionary = self.embeddingB.weight @ embedding  # (T, N)
        scores = dense(dense(x, self.route[0], gelu=True), self.route[2])  # (B, L, T)
        learning = self.training and torch.is_grad_enabled()
        keys, noise = self.draw(routing, x)
        if noise is None:
            if not learning or keys is None:
                routes = route(scores, keys)
                return F.embedding(routes.chosen, dictionary), routes
            routes, soft = route_softly(scores, keys)
            # The straight-through gradient: the difference is 0, but soft's gradient is not.
            prompt = F.embedding(routes.chosen, dictionary)
            return prompt + (soft - soft.detach()).to(x.dtype) @ dictionary.detach(), routes
        scores = F.log_softmax(scores, dim=-1) + noise
        if not learning:
            routes = routes_of(scores.argmax(dim=-1))
            return F.embedding(routes.chosen, dictionary), routes
        # Straight-through: one-hot forward, softmax at temperature 1 backward.
        soft = scores.softmax(dim=-1)
        routes = routes_of(soft.argmax(dim=-1))
        hard = F.one_hot(routes.chosen, self.num_tokens).to(soft.dtype)
        return (hard - soft.detach() + soft) @ dictionary, routes

    def draw(self, routing: Routing, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Draws the randomness of the routing of tokens ``(B, L, C)``.

        Returns:
            Keys of the counter's noise, int32 ``(B,)``, or the noise itself ``(B, L, T)``; ``None``
            for what there is not.
        """
        batch, length, _ = x.shape
        if routing.mode == "seeded":
            return shared_keys(routing.seed, self.block_index, batch, x.device), None
        if routing.mode == "fresh":
            return separate_keys(routing.seed, self.block_index, batch, routing.first), None
        if routing.mode == "global":
            # The draw of torch.nn.functional.gumbel_softmax: same numbers, same order.
            dtype = torch.promote_types(x.dtype, torch.float32)
            noise = x.new_empty(batch, length, self.num_tokens, dtype=dtype)
            return None, noise.exponential_().log_().neg_()
        return None, None
