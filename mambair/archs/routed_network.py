"""What every network of attentive blocks has for the randomness of their routing."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mambair.archs.attentive_ssm import Routing
from mambair.archs.selective_ssm import ScanNetwork


class RoutedNetwork(ScanNetwork):
    """A network whose blocks choose prompts; listed before the frame among a class's bases.

    In training it draws Gumbel noise, from PyTorch's global generator at first; in ``eval()`` as
    :meth:`set_routing` says.
    """

    routing: Literal["sampled", "argmax"] = "sampled"
    routing_seed: int | None = 0
    training_noise: Literal["global", "fused"] = "global"
    # Not a buffer: it is not part of the weights, and other processes have other places.
    _noise_place: Tensor | None = None

    def set_routing(
        self, routing: Literal["sampled", "argmax"], routing_seed: int | None = 0
    ) -> None:
        """Changes how tokens choose their prompt in ``eval()``.

        Args:
            routing: ``"sampled"`` or ``"argmax"`` (without noise).
            routing_seed: seed of the sampled routing; ``None``: PyTorch's global generator.

        Raises:
            ValueError: another word.
        """
        if routing not in ("sampled", "argmax"):
            raise ValueError(f"routing must be 'sampled' or 'argmax', got {routing!r}")
        self.routing = routing
        self.routing_seed = routing_seed

    def set_training_noise(self, noise: Literal["global", "fused"]) -> None:
        """Changes where the Gumbel noise of training comes from.

        Args:
            noise: ``"global"`` (at first): PyTorch's global generator, one tensor a block, the draw
                of the published code; ``"fused"``: one number of that generator a forward pass, and
                a hash of it and the element, which a kernel computes where it is used.

        Raises:
            ValueError: another word.
        """
        if noise not in ("global", "fused"):
            raise ValueError(f"training noise must be 'global' or 'fused', got {noise!r}")
        self.training_noise = noise

    def place_training_noise(self, seed: int, first: int) -> None:
        """Says which noise the next forward passes draw, in place of PyTorch's generator.

        With ``"fused"`` noise, a batch that is run in parts, or by several processes, gets the
        noise that it would get as a whole.

        Args:
            seed: any int32, another one for every step of a training.
            first: number of the first element of the batch in the whole.
        """
        if self._noise_place is None:
            self._noise_place = torch.zeros(2, dtype=torch.int32)
        self._noise_place[0], self._noise_place[1] = seed, first

    def _current_routing(self, device: torch.device) -> Routing:
        """The routing of one forward pass; may draw from PyTorch's global generator."""
        if self.training and self.training_noise == "fused" and self._noise_place is not None:
            place = self._noise_place.to(device, copy=True)  # blocks may be run again later
            return Routing("fresh", place[:1], place[1:])
        if self.training and self.training_noise == "fused":
            seed = torch.randint(-(2**31), 2**31 - 1, (1,), dtype=torch.int32, device=device)
            return Routing("fresh", seed)
        if self.training:
            return Routing("global")
        if self.routing == "argmax":
            return Routing("argmax")
        if self.routing_seed is None:
            return Routing("global")
        return Routing("seeded", self.routing_seed)
