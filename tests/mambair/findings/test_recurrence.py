"""The explicit sum is the network's own scan; its derivatives are autograd's."""

from __future__ import annotations

import pytest
import torch

from mambair.findings import Subject
from mambair.findings.recording import record_scans
from mambair.findings.recurrence import recurrence_of


@pytest.fixture(params=["v1", "v2"])
def subject(request, picture) -> Subject:
    return Subject(request.getfixturevalue(request.param), picture, side=12)


def test_recording_changes_nothing(subject):
    with torch.no_grad():
        before = subject.net(subject.x)
        assert subject.scans
        torch.testing.assert_close(subject.net(subject.x), before, atol=0, rtol=0)
    for module in subject.net.modules():
        assert not module._forward_pre_hooks
        assert not {"scan", "choose_prompts"} & set(module.__dict__)


def test_an_error_leaves_no_hooks(v2):
    with pytest.raises(RuntimeError):
        record_scans(v2, torch.zeros(1, 5, 8, 8))
    assert not any(module._forward_pre_hooks for module in v2.modules())
    assert not any("scan" in module.__dict__ for module in v2.modules())


def test_orders_are_those_of_the_scan(v1, v2, picture):
    """Tokens of all directions, brought back, are the same pixels."""
    for scan in Subject(v1, picture, side=12).scans:
        back = scan.in_raster_order(scan.tokens)
        for k in range(1, 4):
            torch.testing.assert_close(back[:, k], back[:, 0], atol=0, rtol=0)
    for scan in Subject(v2, picture, side=12).scans:
        assert scan.chosen[scan.order[0]].diff().min() >= 0
        assert (scan.height, scan.width) == (12, 12)


def test_the_masked_product_is_the_recurrence(subject):
    """y = M u + D u to 1e-5, for every block, direction and channel."""
    for scan in subject.scans:
        for k in range(scan.tokens.shape[1]):
            recurrence = recurrence_of(scan, k, dtype=torch.float64)
            plain, added = recurrence.matrices(recurrence.C, recurrence.prompt)
            y = torch.einsum("eij,je->ie", plain + added, recurrence.u)
            y += recurrence.D * recurrence.u
            torch.testing.assert_close(y, scan.output[:, k].double(), atol=1e-5, rtol=1e-5)
            assert (added.abs().max() > 1e-3) == (scan.prompt is not None)


def test_rows_are_those_of_the_matrix(subject):
    recurrence = recurrence_of(subject.scans[0], dtype=torch.float64)
    queries = recurrence.C + recurrence.prompt
    (matrix,) = recurrence.matrices(queries)
    for i in (0, 5, len(queries) - 1):
        row = recurrence.weights(i, queries[i])
        torch.testing.assert_close(row, matrix[:, i, : i + 1].T)
        assert not matrix[:, i, i + 1 :].any()


def test_jacobians_are_those_of_autograd(subject):
    """Of the scan with all that depends on a token: u, its step, its B."""
    scan = subject.scans[-1]
    recurrence = recurrence_of(scan, dtype=torch.float64)
    ssm = scan.ssm.double()
    prompt = None if scan.prompt is None else scan.prompt[None, :, None].double()
    i, places = 60, torch.tensor([0, 31, 58, 59])

    def result(tokens):
        every = torch.cat([tokens[:, None], scan.tokens[:, 1:].double()], dim=1)
        y = ssm.scan(every[None], prompt)
        return y[0, i, 0]

    jacobian = torch.autograd.functional.jacobian(result, scan.tokens[:, 0].double())
    expected = jacobian.permute(1, 0, 2)[places].flatten(1).norm(dim=1)
    torch.testing.assert_close(
        recurrence.jacobian_norms(i, places), expected, rtol=1e-5, atol=1e-12
    )
