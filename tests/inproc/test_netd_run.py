"""What netd says of a program that failed without a word."""

import pytest

from netd.errors import NetdError
from netd.shell.run import run


@pytest.mark.parametrize(
    ("script", "said"), [("kill -SEGV $$", "ended by SIGSEGV"), ("exit 3", "exit 3"), ("echo no >&2; exit 1", "no")]
)
def test_how_a_program_ended_is_told(script: str, said: str) -> None:
    with pytest.raises(NetdError, check=lambda error: str(error).endswith(said)):
        run(["sh", "-c", script])
