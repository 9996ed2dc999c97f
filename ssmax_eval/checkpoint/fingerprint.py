"""What identifies a checkpoint: its content, not its path."""

import hashlib
from pathlib import Path

WHOLE = 1 << 28
"""Files up to this size (256 MiB) are hashed whole."""
SAMPLES, SAMPLE = 256, 1 << 20
"""Of a larger file, this many evenly spaced pieces of this size (1 MiB) are hashed."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's size and content; of a file past 256 MiB, of its size and 256 pieces of it."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= WHOLE:
            while piece := file.read(SAMPLE):
                digest.update(piece)
        else:
            for i in range(SAMPLES):
                file.seek(i * (size - SAMPLE) // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """Return one digest of what decides a checkpoint's numbers: weights, config, tokenizer, its own code."""
    suffixes = {".safetensors", ".bin", ".json", ".jinja", ".model", ".txt", ".py"}
    ignored = {"generation_config.json", "training.json"}
    files = sorted(p for p in folder.iterdir() if p.suffix in suffixes and p.name not in ignored)
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {file_digest(path)}\n".encode())
    return digest.hexdigest()
