"""Programs that some tests need, of which not every machine has all."""

import os
import shutil

import pytest

WHERE = f"{os.environ.get('PATH', '')}:/usr/sbin"


def place_of(program: str) -> str | None:
    return shutil.which(program, path=WHERE)


def needs(program: str) -> pytest.MarkDecorator:
    """Skips, and says so, where it isn't; where CI=true nothing is skipped, and what needs it fails."""
    is_lacking = place_of(program) is None and os.environ.get("CI") != "true"
    return pytest.mark.skipif(is_lacking, reason=f"{program} is not here; on Debian: apt-get install {program}")
