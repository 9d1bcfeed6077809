"""Blocks of MambaIRv2 (arXiv 2411.15269, section 3.2 and figure 2).

Between ``patch_embed`` and ``norm`` everything is a token map ``(B, H, W, C)``, which convolutions
see as channels-last memory: no layer copies its input into another layout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mambair.archs.attentive_block import attentive_block
from mambair.archs.attentive_ssm import AttentiveSSM, Routing
from mambair.archs.block_kernel import kernel_parameters
from mambair.archs.feedforward import ConvFFN, GatedConvFFN
from mambair.archs.window_attention import WindowAttention
from mambair.ops.dense import Residual, dense

# Built with (dim, hidden_dim, kernel_size).
FeedForward = type[ConvFFN] | type[GatedConvFFN]


class AttentiveBlock(nn.Module):
    """Window attention, then the attentive state space, each followed by an FFN.

    Args:
        dim: channels C.
        d_state: state size N.
        num_heads: attention heads.
        window_size: window side w.
        shift: pixels by which the windows are moved.
        inner_rank: rank r of the prompt dictionary.
        num_tokens: prompts T.
        convffn_kernel_size: side of the FFN's depthwise kernel.
        mlp_ratio: inner width of FFN and scan over C.
        qkv_bias: whether ``wqkv`` has a bias.
        feed_forward: class of the FFN.
        block_index: number of the block in the network.
    """

    def __init__(
        self,
        dim: int,
        d_state: int,
        num_heads: int,
        window_size: int,
        shift: int,
        inner_rank: int,
        num_tokens: int,
        convffn_kernel_size: int,
        mlp_ratio: float,
        qkv_bias: bool,
        feed_forward: FeedForward,
        block_index: int,
    ) -> None:
        super().__init__()
        hidden_dim = int(dim * mlp_ratio)
        self.shift = shift
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.scale1 = nn.Parameter(torch.full((dim,), 1e-4))
        self.scale2 = nn.Parameter(torch.full((dim,), 1e-4))
        self.wqkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.win_mhsa = WindowAttention(dim, window_size, num_heads)
        self.assm = AttentiveSSM(dim, d_state, hidden_dim, inner_rank, num_tokens, block_index)
        self.convffn1 = feed_forward(dim, hidden_dim, convffn_kernel_size)
        self.convffn2 = feed_forward(dim, hidden_dim, convffn_kernel_size)
        self.embeddingA = nn.Embedding(inner_rank, d_state)
        nn.init.uniform_(self.embeddingA.weight, -1 / inner_rank, 1 / inner_rank)

    def forward(self, x: Tensor, index: Tensor, routing: Routing) -> Tensor:
        """``(B, H, W, C)`` to the same; ``index`` is the relative position index."""
        parameters = kernel_parameters(self, x) if type(self) is AttentiveBlock else None
        if parameters is not None:
            return self._run_kernel(x, parameters, routing)
        qkv = dense(x, self.wqkv, norm=self.norm1)
        y = self.win_mhsa(qkv, index, self.shift, Residual(x))
        x = self.convffn1(y, self.norm2, Residual(y, x, self.scale1))

        y = self.assm(x, self.norm3, self.embeddingA.weight, routing)
        z: Tensor = self.convffn2(y, self.norm4, Residual(y, x, self.scale2))
        return z

    def _run_kernel(self, x: Tensor, parameters: list[Tensor], routing: Routing) -> Tensor:
        keys, noise = self.assm.draw(routing, x.flatten(1, 2))
        attention = self.win_mhsa
        keep = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *parameters))
        soft = keep and self.training and routing.mode != "argmax"
        y: Tensor = attentive_block(
            x, parameters, attention.num_heads, attention.window_size, self.shift, keys, noise,
            soft, keep,
        )[0]  # fmt: skip
        return y
