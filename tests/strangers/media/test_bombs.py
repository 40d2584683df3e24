"""Files that are small on the disk and huge in memory: refused before they are decoded, or read a part at a time."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")
Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory as Linux tells them")

MEGABYTES = 450  # two pictures of 50 megapixels with 4 bytes each; the worst file of old took 4,500
CHILD = """
import json, sys
from pathlib import Path
from art_plugins.errors import InvalidInputError
from art_plugins.files.image_files import ImageReader, choose_image_reader
from art_plugins.files.sound_files import SoundReader, choose_sound_reader

def megabytes(which):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(which))

lines = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    is_sound = path.suffix in (".wav", ".flac")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew; that of getrusage is also the parent's
    before = megabytes("VmRSS")
    for choose in (choose_sound_reader if is_sound else choose_image_reader, None):
        try:
            if choose:
                choose([path])
                continue
            mended = (SoundReader(16_000, 160_000) if is_sound else ImageReader((32, 32), False)).read(path)[1]
            line = "; ".join(mended) or "read"
        except InvalidInputError as error:
            line = f"skipped: {error}"
    lines[path.name] = (line, megabytes("VmHWM") - before)
print(json.dumps(lines))
"""


def wav_header(channels: int, rate_hz: int, n_bytes: int) -> bytes:
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, (2 * channels * rate_hz) % 2**32, 2 * channels, 16)
    return b"RIFF" + struct.pack("<I", 36 + n_bytes) + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", n_bytes)


def write_sparse(path: Path, header: bytes, n_bytes: int) -> None:
    path.write_bytes(header)
    os.truncate(path, len(header) + n_bytes)


def flac(n_samples: int, rate_hz: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((2_000, 8)), 8_000, format="FLAC", subtype="PCM_16")
    content = bytearray(buffer.getvalue())
    fields = int.from_bytes(content[18:26], "big") & (0xFF << 36)
    content[18:26] = (rate_hz << 44 | fields | n_samples).to_bytes(8, "big")
    return bytes(content)


def png(width: int, height: int, kind: int, before: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    row = bytes(1 + width * {0: 1, 6: 4}[kind])
    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(row * min(1_000, height - y)) for y in range(0, height, 1_000)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpg_that_says(side: int, progressive: bool) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG", progressive=progressive)
    content = bytearray(buffer.getvalue())
    struct.pack_into(">HH", content, content.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5, side, side)
    return bytes(content)


def write_bombs(root: Path) -> dict[str, str]:
    """The files, and what is to be said of each."""
    gigabyte = 10**9
    write_sparse(root / "1024-channels.wav", wav_header(1_024, 48_000, gigabyte), gigabyte)
    write_sparse(root / "64-channels.wav", wav_header(64, 48_000, gigabyte), gigabyte)
    write_sparse(root / "ten-hours-at-1-hz.wav", wav_header(1, 1, 72_000), 72_000)
    write_sparse(root / "ten-hours.wav", wav_header(1, 8_000, 576_000_000), 576_000_000)
    write_sparse(root / "4-ghz.wav", wav_header(1, 4_000_000_000, 10**6), 10**6)
    write_sparse(root / "1-mhz.wav", wav_header(2, 999_983, 50_000_000), 50_000_000)
    (root / "says-4-gb.wav").write_bytes(wav_header(2, 48_000, 2**32 - 37) + bytes(400))
    (root / "chunks.wav").write_bytes(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 100_000)
    (root / "says-2-to-36.flac").write_bytes(flac(2**36 - 1, 8_000))
    (root / "says-655350-hz.flac").write_bytes(flac(2_000, 655_350))
    (root / "80-million-high.png").write_bytes(png(1, 80_000_000, 0))
    (root / "50-million-high.png").write_bytes(png(1, 50_000_000, 0))
    (root / "48-million-with-alpha.png").write_bytes(png(6_000, 8_000, 6))
    text = b"a\0\0" + zlib.compress(bytes(400_000_000), 1)
    comment = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    (root / "text.png").write_bytes(png(32, 32, 0, comment))
    (root / "says-65500.jpg").write_bytes(jpg_that_says(65_500, False))
    (root / "says-65500-progressive.jpg").write_bytes(jpg_that_says(65_500, True))
    (root / "says-9000.jpg").write_bytes(jpg_that_says(9_000, False))
    return {
        "1024-channels.wav": "skipped: it has 1024 channels",
        "64-channels.wav": "mixed down to mono; resampled; (padded|cropped); near silent",
        "ten-hours-at-1-hz.wav": "skipped: its header is damaged: a sample rate of 1 Hz",
        "ten-hours.wav": "resampled; cropped; near silent",
        "4-ghz.wav": "skipped: ",
        "1-mhz.wav": "mixed down to mono; resampled; cropped|mixed down to mono; resampled; padded",
        "says-4-gb.wav": "wrong length in its header",
        "chunks.wav": "skipped: ",
        "says-2-to-36.flac": "skipped: it is truncated|skipped: it is damaged",
        "says-655350-hz.flac": "mixed down to mono; resampled; padded|skipped: ",
        "80-million-high.png": "skipped: it is too large: 1 x 80,000,000 pixels, where at most 50,000,000",
        "50-million-high.png": "skipped: it is too large: 1 x 50,000,000 pixels",
        "48-million-with-alpha.png": "transparency dropped",
        "text.png": "skipped: |grey among coloured",
        "says-65500.jpg": "skipped: it is too large",
        "says-65500-progressive.jpg": "skipped: it is too large",
        "says-9000.jpg": "skipped: it is too large",
    }


@pytest.mark.slow
def test_bombs_are_refused_or_read_in_bounded_memory(tmp_path):
    expected = write_bombs(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = json.loads(done.stdout)
    assert set(lines) == set(expected)
    for name, (line, grown) in lines.items():
        assert re.match(expected[name], line), (name, line)
        assert grown < MEGABYTES, (name, line, grown)
