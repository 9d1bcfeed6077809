"""``realesrgan-mambair-video``: pixels, times and sound, and what a kill leaves."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from mambair.archs.registry import build_network
from mambair.checkpoint import save_checkpoint
from tests.conftest import ROOT, photograph, tiny_network

av = pytest.importorskip("av", minversion="18")

from realesrgan_compat.cli.videos import videos  # noqa: E402

WIDTH, HEIGHT, RATE, SECONDS = 32, 24, 12, 5
FLAGS = ("--model_path", "net.pth", "--part", "12")


def make_video(
    path: Path,
    starts: Sequence[int] = range(RATE * SECONDS),
    time_base: Fraction = Fraction(1, RATE),
    size: tuple[int, int] = (WIDTH, HEIGHT),
    sound: str | None = "aac",
    rotation: int = 0,
    pixel_format: str = "yuv420p",
    codec: str = "libx264",
    frames: Sequence[np.ndarray] | None = None,
    **properties: Any,
) -> None:
    """Writes a video of a moving crop of a photograph, with a tone."""
    picture = photograph(height=150, width=200)
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(RATE), options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        stream.codec_context.time_base = stream.time_base = time_base
        for name, value in properties.items():
            setattr(stream.codec_context, name, value)
        if rotation:
            stream.set_display_rotation(rotation)
        audio = container.add_stream(sound, rate=16000, layout="mono") if sound else None
        for number, start in enumerate(starts):
            crop = picture[number : number + size[1], 2 * number : 2 * number + size[0]]
            pixels = crop if frames is None else frames[number]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="bgr24")
            for name, value in properties.items():
                if name.startswith("color"):
                    setattr(frame, name, value)
            matrix = properties.get("colorspace")
            frame = frame.reformat(format=pixel_format, dst_colorspace=matrix)
            frame.pts, frame.time_base = start, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            seconds = float((starts[-1] + 1) * time_base)
            noise = rng.integers(-9000, 9000, (1, int(16000 * seconds)), dtype=np.int16)
            for begin in range(0, noise.shape[1], 1600):
                chunk = np.ascontiguousarray(noise[:, begin : begin + 1600])
                samples = av.AudioFrame.from_ndarray(chunk, format="s16", layout="mono")
                samples.sample_rate, samples.pts = 16000, begin
                samples.time_base = Fraction(1, 16000)
                container.mux(audio.encode(samples))
            container.mux(audio.encode(None))


def read_video(path: Path) -> tuple[list[Fraction], list[np.ndarray]]:
    """When each frame is shown, in seconds, and its pixels in BGR."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [f.pts * f.time_base for f in frames], [f.to_ndarray(format="bgr24") for f in frames]


def read_sound(path: Path) -> list[tuple[Fraction, bytes]]:
    """When each packet of the sound is played, in seconds, and its contents."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(audio=0) if p.size]
        return [(p.pts * p.time_base, bytes(p)) for p in packets]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with ``film.mp4`` and the weights ``net.pth`` (×2)."""
    make_video(tmp_path / "film.mp4")
    torch.manual_seed(0)
    save_checkpoint({"params": build_network(tiny_network()).state_dict()}, tmp_path / "net.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object, flags: Sequence[str] = FLAGS) -> Result:
    return CliRunner().invoke(videos, ["-i", *map(str, arguments), *flags])


@pytest.fixture
def repeating(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the network: pixels are repeated."""
    from realesrgan_compat.enhancer import Enhancer

    def repeat(self: Enhancer, picture: np.ndarray) -> np.ndarray:
        return np.repeat(np.repeat(picture, 2, 0), 2, 1)

    monkeypatch.setattr(Enhancer, "__call__", repeat)


def test_a_killed_run_goes_on_to_the_same_video(folder: Path) -> None:
    source, target = folder / "film.mp4", folder / "results" / "film_out.mp4"
    assert run("film.mp4", "-o", "whole").exit_code == 0
    command = [sys.executable, "-m", "realesrgan_compat.video", "-i", "film.mp4", *FLAGS]
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    parts = folder / "results" / "film_out.mp4.parts"
    while not (parts / "000001.nut").exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.nut")}
    assert 2 <= len(kept) < 5

    result = run("film.mp4")
    assert result.exit_code == 0, result.output
    assert not parts.exists()
    starts, frames = read_video(target)
    assert starts == [Fraction(number, RATE) for number in range(RATE * SECONDS)]
    whole_starts, whole = read_video(folder / "whole" / "film_out.mp4")
    assert starts == whole_starts
    assert all(np.array_equal(a, b) for a, b in zip(frames, whole, strict=True))
    assert read_sound(target) == read_sound(source)
    assert target.read_bytes() == (folder / "whole" / "film_out.mp4").read_bytes()


def test_finished_parts_are_kept_when_a_run_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a run that was stopped by Ctrl-C says how."""
    from realesrgan_compat.enhancer import Enhancer

    seen = []
    enlarge = Enhancer.__call__

    def interrupting(self: Enhancer, picture: np.ndarray) -> np.ndarray:
        seen.append(1)
        if len(seen) == 30:
            raise KeyboardInterrupt
        return enlarge(self, picture)

    monkeypatch.setattr(Enhancer, "__call__", interrupting)
    result = run("film.mp4")
    assert result.exit_code == 130
    assert "results/film_out.mp4.parts, and the same command goes on" in result.output
    result = run("film.mp4", flags=("--model_path", "net.pth", "--part", "12", "-s", "3"))
    assert result.exit_code == 1
    assert "holds 2 parts of this video made with outscale 2, not 3" in result.output
    assert "--restart" in result.output
    seen[:] = [1] * 30
    assert run("film.mp4").exit_code == 0
    assert len(seen) == 30 + 60 - 24
    assert len(read_video(folder / "results" / "film_out.mp4")[0]) == 60


def test_frames_are_those_of_the_network(folder: Path) -> None:
    make_video(folder / "film.mp4", range(2), size=(64, 48))
    result = run("film.mp4", flags=("-n", "tiny_x2", "--crf", "1"))
    assert result.exit_code == 0, result.output
    from realesrgan_compat import RealESRGANer

    upsampler = RealESRGANer(2, "tiny_x2", pre_pad=0, device="cpu")
    originals = read_video(folder / "film.mp4")[1]
    restored = read_video(folder / "results" / "film_out.mp4")[1]
    for original, found in zip(originals, restored, strict=True):
        expected = upsampler.enhance(original)[0].astype(int)
        assert np.abs(found - expected).mean() < 4  # 4:2:0 averages the colors of four pixels
        assert np.abs((found - expected).mean(axis=(0, 1))).max() < 1


def test_a_variable_rate_is_kept(folder: Path) -> None:
    gaps = np.random.default_rng(1).integers(1, 4000, 40)
    starts = [0, *np.cumsum(gaps).tolist()]
    base = Fraction(1, 12800)
    make_video(folder / "film.mp4", starts, base)
    assert run("film.mp4").exit_code == 0
    found = read_video(folder / "results" / "film_out.mp4")[0]
    assert found == [start * base for start in starts]
    assert read_sound(folder / "results" / "film_out.mp4") == read_sound(folder / "film.mp4")


def test_a_fixed_rate_on_request(folder: Path) -> None:
    """Half and two and a half times the rate: the length stays, and so does the sound."""
    for fps, count in (("6", 30), ("30", 150)):
        flags = ("--model_path", "net.pth", "--fps", fps, "-o", fps)
        assert run("film.mp4", flags=flags).exit_code == 0
        starts, _ = read_video(folder / fps / "film_out.mp4")
        assert starts == [Fraction(number, int(fps)) for number in range(count)]
        assert read_sound(folder / fps / "film_out.mp4") == read_sound(folder / "film.mp4")
    assert "is not a rate" in run("film.mp4", "--fps", "fast").output


def test_a_container_that_starts_late_is_moved_to_zero(folder: Path) -> None:
    """MPEG transport streams begin at 1.4 s or so; sound and picture move together."""
    make_video(folder / "film.ts", sound="mp2")
    assert run("film.ts").exit_code == 0
    source, target = folder / "film.ts", folder / "results" / "film_out.mp4"
    moved = [read_video(path)[0][0] - read_sound(path)[0][0] for path in (source, target)]
    assert abs(moved[0] - moved[1]) <= Fraction(2, 90000) + Fraction(1, 16000)
    assert len(read_video(target)[0]) == 60
    assert min(read_video(target)[0][0], read_sound(target)[0][0]) < Fraction(1, 10)
    assert [data for _, data in read_sound(target)] == [data for _, data in read_sound(source)]


def test_sound_that_mp4_cannot_hold_makes_it_mkv(folder: Path) -> None:
    make_video(folder / "film.mkv", sound="wavpack")
    result = run("film.mkv")
    assert result.exit_code == 0, result.output
    assert "becomes .mkv, because .mp4 cannot hold its sound" in result.output
    target = folder / "results" / "film_out.mkv"
    sounds = [read_sound(path) for path in (target, folder / "film.mkv")]
    assert [data for _, data in sounds[0]] == [data for _, data in sounds[1]]
    result = run("film.mkv", "--container", "mp4", "-o", "other")
    assert result.exit_code == 1
    assert ".mp4 cannot hold audio 1 (wavpack)" in result.output


def test_a_video_without_sound_and_of_odd_sides(folder: Path, repeating: None) -> None:
    make_video(folder / "film.mkv", range(5), sound=None, size=(34, 26))
    from realesrgan_compat.enhancer import Enhancer

    def smaller(self: Enhancer, picture: np.ndarray) -> np.ndarray:
        return picture[:-1, :-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Enhancer, "__call__", smaller)
        assert run("film.mkv", "--crf", "1").exit_code == 0
    frames = read_video(folder / "results" / "film_out.mp4")[1]
    assert [frame.shape for frame in frames] == [(26, 34, 3)] * 5
    last, before = (frames[0][row].astype(int).mean() for row in (-1, -2))
    assert abs(last - before) < 3


def test_a_video_from_a_telephone_stands_upright(folder: Path, repeating: None) -> None:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, : WIDTH // 2] = (0, 0, 200)  # red at the left as stored
    make_video(folder / "film.mp4", range(3), frames=[picture] * 3, rotation=90)
    assert run("film.mp4").exit_code == 0
    frame = read_video(folder / "results" / "film_out.mp4")[1][0]
    assert frame.shape == (2 * WIDTH, 2 * HEIGHT, 3)
    # Counterclockwise by 90 degrees, the left comes to the bottom.
    assert frame[4, 24, 2] < 20
    assert frame[-4, 24, 2] > 180


@pytest.mark.parametrize("matrix", [1, 6])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_colors_and_depth_are_kept(
    folder: Path, repeating: None, matrix: int, pixel_format: str
) -> None:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = (40, 90, 210)
    tags = {"colorspace": matrix, "color_primaries": matrix, "color_trc": matrix}
    frames = [picture] * 3
    make_video(folder / "film.mp4", range(3), frames=frames, pixel_format=pixel_format, **tags)
    result = run("film.mp4", "--crf", "1")
    assert result.exit_code == 0, result.output
    with av.open("film.mp4") as source, av.open("results/film_out.mp4") as target:
        before, after = next(source.decode(video=0)), next(target.decode(video=0))
        assert after.format.name == pixel_format
        assert int(after.colorspace) == int(after.color_primaries) == matrix
        planes = [frame.to_ndarray().astype(int) for frame in (before, after)]
    steps = 4 if pixel_format.endswith("10le") else 1
    rows = [0, HEIGHT, HEIGHT * 5 // 4, HEIGHT * 3 // 2]  # of Y, U and V
    for first, last in itertools.pairwise(rows):
        levels = planes[0][first:last], planes[1][2 * first : 2 * last]
        assert abs(levels[0].mean() - levels[1].mean()) <= steps
        assert levels[1].std() <= steps


def test_results_that_are_there_stay(folder: Path) -> None:
    (folder / "results").mkdir()
    (folder / "results" / "film_out.mp4").write_text("precious")
    result = run("film.mp4")
    assert result.exit_code == 2
    assert "film_out.mp4: there already" in result.output
    assert (folder / "results" / "film_out.mp4").read_text() == "precious"


def test_what_is_no_video_is_named_before_any_work(folder: Path) -> None:
    (folder / "notes.mp4").write_text("not a video")
    (folder / "cut.mp4").write_bytes((folder / "film.mp4").read_bytes()[:3000])
    for name in ("notes.mp4", "cut.mp4"):
        result = run(name)
        assert result.exit_code == 1
        assert f"{name}: not a readable video" in result.output
        assert not (folder / "results").exists()


def test_flags_that_mean_nothing_here_are_said(folder: Path) -> None:
    result = run("film.mp4", "--num_process_per_gpu", "2", "--extract_frame_first")
    assert result.exit_code == 0
    assert "--num_process_per_gpu is ignored" in result.output
    assert "--extract_frame_first is ignored" in result.output


def test_damaged_packets_are_counted(folder: Path) -> None:
    content = bytearray((folder / "film.mp4").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    (folder / "film.mp4").write_bytes(content)
    result = run("film.mp4")
    assert result.exit_code == 0, result.output
    assert (folder / "results" / "film_out.mp4").exists()
