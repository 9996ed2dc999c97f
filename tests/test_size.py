"""The repository stays small: what is in it can be cloned in seconds."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOTAL, LARGEST = 25_000_000, 20_000_000
"""Bytes that all tracked files, and one of them, may take."""


def tracked() -> dict[str, int]:
    """Tracked files and their sizes in bytes; a link counts as itself. Skips the test where there is no git."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git, or no repository")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return {str(path.relative_to(ROOT)): path.lstat().st_size for path in paths if path.is_symlink() or path.exists()}


def test_tracked_files_are_small() -> None:
    sizes = tracked()
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:5]
    assert sum(sizes.values()) <= TOTAL, f"the largest: {largest}"
    assert max(sizes.values()) <= LARGEST, largest[0]
