"""Every finding as a user gets it: from a network and a picture to a sentence and two files."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mambair import findings
from mambair.archs import MambaIRUNet, MambaIRv2Light, MambaIRv2UNet
from mambair.findings import FindingError, NotApplicableError, ReceptiveField, Subject
from mambair.findings.alike import likest, pairs_alike
from mambair.findings.direction_redundancy import linear_cka, mean_cosine
from mambair.findings.receptive_field import area_ratio
from mambair.imaging.errors import PictureError
from mambair.inference.restorer import Restorer
from tests.conftest import tiny_network

ONLY_V2 = {"attentive_map", "semantic_neighbors"}
ONLY_V1 = {"direction_redundancy"}


def test_what_a_subject_is_made_of(v2, picture):
    """A model of ``mambair.load`` and a PIL picture are the network and the array."""
    subject = Subject(v2, picture)
    same = Subject(Restorer(v2), Image.fromarray(picture))
    assert same.net is v2
    assert torch.equal(same.x, subject.x)
    with pytest.raises(PictureError, match=r"a str was given; a picture is"):
        Subject(v2, "photo.png")


@pytest.mark.parametrize("name", findings.OF_ONE_PICTURE)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_sentence_table_and_drawing(name, version, request, picture, tmp_path):
    subject = Subject(request.getfixturevalue(version), picture)
    measure = findings.OF_ONE_PICTURE[name]
    if name in (ONLY_V2 if version == "v1" else ONLY_V1):
        with pytest.raises(NotApplicableError, match=type(subject.net).__name__):
            measure(subject)
        return
    finding = measure(subject)
    assert "nan" not in finding.summary()
    drawing, table = finding.save(tmp_path / "new", "photo_")
    assert drawing.name == f"photo_{name}.png"
    assert cv2.imread(str(drawing)).std() > 1
    with table.open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(finding.table())
    assert {int(line["block"]) for line in lines} == set(range(1, len(subject.scans) + 1))


def test_a_network_without_scans(picture):
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    with pytest.raises(NotApplicableError, match="Sequential has no block with a selective scan"):
        findings.decay(Subject(net, picture))


def test_influence_only_comes_from_before(v2, picture):
    maps = findings.attentive_map(Subject(v2, picture), [(30, 20)]).maps
    for each in maps:
        assert (each.x, each.y) == (30, 20)
        reached = (each.influence > 0).mean()
        assert reached <= each.place + 1e-6
        assert each.influence.sum() == pytest.approx(1, abs=1e-4)
        assert each.answers.sum() == pytest.approx(1, abs=1e-4)


def test_a_pixel_outside(v2, picture):
    with pytest.raises(FindingError, match="pixel 5,49 .* columns 21 to 44, rows 13 to 36"):
        findings.attentive_map(Subject(v2, picture, side=24), [(5, 49)])


def test_routing_by_colors_brings_alike_pixels_together(v2, picture):
    """Without knowledge the order is random; classes made of a feature are no longer."""
    for block in v2.modules():
        if hasattr(block, "route"):
            nn.init.zeros_(block.route[2].weight)
    uninformed = findings.semantic_neighbors(Subject(v2, picture)).blocks[0]
    assert uninformed.after == pytest.approx(1 / 3, abs=0.03)
    assert uninformed.confidence == pytest.approx(1 / 4)
    levels = torch.tensor([-1.5, -0.5, 0.5, 1.5])
    with torch.no_grad():
        for block in v2.modules():
            if hasattr(block, "route"):  # scores that are highest at the level nearest to a feature
                block.route[0].weight.zero_()
                block.route[0].weight[0, 0] = 1
                block.route[0].bias.fill_(9)  # where GELU is linear
                block.route[2].weight[:, 0] = 99 * levels
                block.route[2].bias.copy_(-99 * (levels.square() / 2 + 9 * levels))
    informed = findings.semantic_neighbors(Subject(v2, picture)).blocks[0]
    assert informed.confidence > 0.9
    assert informed.after < 0.27
    assert informed.before == uninformed.before


def test_sizes(v2, picture):
    subject = Subject(v2, picture)
    assert subject.size == (48, 64)
    assert (subject.top, subject.left) == (1, 1)
    np.testing.assert_array_equal(subject.x[0].permute(1, 2, 0), subject.rgb)
    with pytest.raises(FindingError, match="67×50 pixels .side: 3."):
        Subject(v2, picture, side=3)


def test_gray_and_deep_pictures(picture):
    torch.manual_seed(0)
    section = tiny_network(in_chans=1, upscale=1, upsampler="")
    section.pop("type")
    gray = MambaIRv2Light(**section)
    subject = Subject(gray, picture.astype(np.uint16) * 257, side=16)
    assert subject.x.shape == (1, 1, 16, 16)
    assert 0 <= subject.x.min() < subject.x.max() <= 1
    with_alpha = np.dstack([picture[..., 0], np.zeros_like(picture[..., 0])])
    assert findings.semantic_neighbors(Subject(gray, with_alpha, side=16)).blocks


def test_a_u_shaped_network(picture):
    """Its token maps shrink level by level; a pixel is found in each."""
    torch.manual_seed(0)
    net = MambaIRUNet(dim=30, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1)
    subject = Subject(net, picture, side=48)
    heights = {scan.height for scan in subject.scans}
    assert heights == {48, 24, 12, 6}
    assert len(findings.direction_redundancy(subject).table()) == 6 * len(subject.scans)
    assert max(block.deviation for block in findings.attention_matrix(subject).blocks) < 1e-5
    assert "nan" not in findings.decay(subject).summary()


def test_a_u_shaped_network_with_prompts(picture):
    torch.manual_seed(0)
    net = MambaIRv2UNet(
        dim=8, num_blocks=(1,) * 4, num_refinement_blocks=1, num_heads=(1,) * 4,
        num_tokens=(8, 4, 4, 4), inner_rank=(4,) * 4, d_state=4,
    )  # fmt: skip
    subject = Subject(net, picture, side=32)
    classes = {scan.height: int(scan.chosen.max()) for scan in subject.scans}
    assert classes.keys() == {32, 16, 8, 4}
    assert all(number < (8 if height == 32 else 4) for height, number in classes.items())
    assert len(findings.semantic_neighbors(subject).blocks) == len(subject.scans) == 8
    assert {each.block for each in findings.attentive_map(subject).maps} == set(range(1, 9))
    assert max(block.deviation for block in findings.attention_matrix(subject).blocks) < 1e-5
    assert "nan" not in findings.decay(subject).summary()


def test_similarity_of_directions():
    a = torch.randn(200, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = a @ torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    other = torch.randn(200, 5, dtype=torch.float64)
    features = torch.stack([a, 3 * a, turned, other], dim=1)
    cka, cosine = linear_cka(features), mean_cosine(features)
    assert cka[0, 1] == pytest.approx(1)
    assert cka[0, 2] == pytest.approx(1)  # which a rotation does not change
    assert cka[0, 3] < 0.2
    assert cosine[0, 1] == pytest.approx(1)
    assert cosine[0, 2] < 0.99


def test_receptive_field_of_a_convolution(picture):
    """What it is can be said without measuring: 3×3 pixels of 16×16."""
    torch.manual_seed(0)
    net = nn.Conv2d(3, 3, 3, padding=1)
    nn.init.ones_(net.weight)
    found = findings.receptive_field({"conv": net}, [picture, picture[:40]], side=16)
    assert isinstance(found, ReceptiveField)
    expected = np.zeros((16, 16))
    expected[7:10, 7:10] = 1
    np.testing.assert_allclose(found.fields["conv"], expected)
    assert area_ratio(found.fields["conv"], 0.99) == 9 / 256
    assert "conv 3.5%" in found.summary()


def test_receptive_fields_side_by_side(v1, v2, picture, tmp_path):
    found = findings.receptive_field({"v1": v1, "v2": v2}, [picture], side=16)
    drawing, _ = found.save(tmp_path)
    assert drawing.is_file()
    assert [line["network"] for line in found.table()] == ["v1"] * 4 + ["v2"] * 4
    with pytest.raises(FindingError, match="picture 1, v1: the picture is 67×50 pixels; 64×64"):
        findings.receptive_field({"v1": v1}, [picture], side=64)
    with pytest.raises(FindingError, match="at least"):
        findings.receptive_field({}, [picture])


def test_pixels_that_look_alike():
    rgb = np.zeros((20, 20, 3), np.float32)
    rgb[:, 10:] = 1
    pairs = pairs_alike(rgb)
    left = pairs % 20 < 10
    assert (left[:, 0] == left[:, 1]).float().mean() > 0.95
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert (likest(rgb, 0, 0.1) % 20 < 10).all()
    assert 0 not in likest(rgb, 0, 0.1)
