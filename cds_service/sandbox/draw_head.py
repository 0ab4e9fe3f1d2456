"""Make ``data/head.npz`` anew: the one step that needs the template itself.

The template is in nilearn's wheel, as ``mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz``:

    python -m cds_service.sandbox.draw_head TEMPLATE.nii.gz
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np

from cds_service.sandbox.anatomy import HEAD_FILE, ORIGIN_MM, SHAPE, Field, draw


def read_template(path: Path) -> Field:
    """The template on our grid; its own is (x, y, z) RAS, voxel (98, 134, 72) at the origin."""
    stored = gzip.decompress(path.read_bytes())
    header = np.frombuffer(stored, "<i2", 35)
    if tuple(header[20:24]) != (3, 197, 233, 189):
        raise ValueError(f"{path.name} is not the 1 mm ICBM 152 template in 8 bits")
    offset = int(np.frombuffer(stored, "<f4", 1, 108)[0])
    ras = np.frombuffer(stored, np.uint8, offset=offset).reshape((197, 233, 189), order="F")
    tissue = ras.transpose(2, 1, 0)[:, ::-1, ::-1]
    volume = np.zeros(SHAPE, np.float32)
    target, source = [], []
    for first, origin, length, size in zip(
        (-72, -98, -98), ORIGIN_MM, tissue.shape, SHAPE, strict=True
    ):
        begin = int(first - origin)
        low, high = max(begin, 0), min(begin + length, size)
        target.append(slice(low, high))
        source.append(slice(low - begin, high - begin))
    volume[tuple(target)] = tissue[tuple(source)]
    return volume


def main(path: Path) -> None:
    """Draw the head from the template at `path` and keep it with the sandbox."""
    intensity, depth = draw(read_template(path))
    np.savez_compressed(
        HEAD_FILE,
        intensity=np.rint(np.clip(intensity, 0, 1) * 255).astype(np.uint8),
        depth_mm=np.rint(np.clip(depth[::2, ::2, ::2], -120, 120)).astype(np.int8),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
