"""Requirements on every network under PyTorch's compilers."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def assert_compiles_and_exports(net: nn.Module) -> None:
    """One graph without breaks; an exported program takes any size."""
    x, other = torch.rand(1, 3, 13, 18), torch.rand(1, 3, 24, 9)
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x), atol=1e-5, rtol=0)
    torch._dynamo.reset()
    dynamic = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(net, (x,), dynamic_shapes=(dynamic,)).module()
    for size in (x, other):
        torch.testing.assert_close(exported(size), net(size), atol=1e-5, rtol=0)
