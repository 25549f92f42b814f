"""Reading a qcow2 header: hostile files are refused with what helps, and what qemu-img makes is read right."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from garage.core import qcow2
from garage.errors import GarageError
from tests.hostileimages import BYTES, HOSTILE, SOUND, extension, image

MOST = 64


def parse(file: bytes) -> qcow2.Header:
    return qcow2.parse(file[: qcow2.HEAD], len(file), most_gib=MOST)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_image_is_refused_with_what_helps(name: str) -> None:
    why, make = HOSTILE[name]
    with pytest.raises(GarageError) as refused:
        parse(make())
    assert (refused.value.code, refused.value.params["why"]) == ("image_refused", why)
    assert refused.value.hint
    assert "<" not in str(refused.value)


def test_there_are_enough_of_them_for_every_reason() -> None:
    assert len(HOSTILE) >= 40
    assert {why for why, _ in HOSTILE.values()} == qcow2.REFUSALS.keys()


def test_a_sound_one_is_taken() -> None:
    assert parse(image()) == qcow2.Header(3, 1 << 30, 16, "zlib")
    assert parse(image(version=2)).version == 2
    assert parse(image(header_length=104)).compression == "zlib"
    assert parse(image(incompatible=8, compression=1)).compression == "zstd"
    assert parse(image(incompatible=16, l1_entries=4)).virtual_bytes == 1 << 30
    names = b"".join(bytes([0, bit]) + bytes(46) for bit in range(5))
    assert parse(image(extension(0x6803F857, names) + extension(0x12345678, b"unknown"))).cluster_bits == 16


@pytest.mark.parametrize(
    "options",
    [
        *("compat=0.10", "compat=1.1", "compat=1.1,lazy_refcounts=on", "cluster_size=512", "cluster_size=2M"),
        *("compression_type=zstd", "extended_l2=on,cluster_size=128k", "refcount_bits=1", "refcount_bits=64"),
        *("preallocation=metadata", "preallocation=full"),
    ],
)
def test_what_qemu_img_makes_is_read_as_it_is(options: str, tmp_path: Path) -> None:
    path = tmp_path / "made.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "6M"], check=True)
    assert parse(path.read_bytes()).virtual_bytes == 6 << 20


def test_what_qemu_img_makes_that_needs_more_is_refused(tmp_path: Path) -> None:
    base, above, data = (tmp_path / name for name in ("base.qcow2", "above.qcow2", "data.raw"))
    create = ["qemu-img", "create", "-q", "-f", "qcow2"]
    subprocess.run([*create, base, "6M"], check=True)
    subprocess.run([*create, "-b", base, "-F", "qcow2", above], check=True)
    subprocess.run([*create, "-o", f"data_file={data}", tmp_path / "split.qcow2", "6M"], check=True)
    # qemu's oldest encryption: for LUKS it would measure this server's speed first, which fails on some
    secret = ["--object", "secret,id=s,data=secret1", "-o", "encrypt.format=aes,encrypt.key-secret=s"]
    subprocess.run([*create, *secret, tmp_path / "locked.qcow2", "6M"], check=True)
    for path, why in (
        (above, "backing_file"),
        (tmp_path / "split.qcow2", "data_file"),
        (tmp_path / "locked.qcow2", "encrypted"),
    ):
        with pytest.raises(GarageError) as refused:
            parse(path.read_bytes())
        assert refused.value.params["why"] == why
    subprocess.run(["qemu-img", "snapshot", "-c", "one", base], check=True)
    with pytest.raises(GarageError) as refused:
        parse(base.read_bytes())
    assert refused.value.params["why"] == "snapshots"


def sane(file: bytes) -> None:
    """Refused in our words, or taken and then harmless."""
    try:
        header = parse(file)
    except GarageError as error:
        assert error.code == "image_refused"
        return
    assert 512 <= header.virtual_bytes <= MOST << 30
    assert file[8:20] == bytes(12)
    assert file[32:36] == bytes(4)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300).map(lambda rest: b"QFI\xfb\0\0\0\x03" + rest))
def test_any_bytes_are_refused_or_harmless(file: bytes) -> None:
    sane(file)


NUMBERS = st.one_of(st.integers(0, 200), st.integers(0, 1 << 32).map(lambda n: n % (1 << 32)), st.just((1 << 32) - 1))


@settings(max_examples=500, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([name for name in SOUND if name not in ("magic", "compression")]), NUMBERS, max_size=4
    )
)
def test_any_change_of_fields_is_refused_or_harmless(changed: dict[str, int]) -> None:
    sane(image(**changed))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, BYTES))
def test_no_part_of_one_is_taken(length: int) -> None:
    """What ends before its last table does is cut off, wherever."""
    if length < 3 * (1 << 16) + 16:
        with pytest.raises(GarageError):
            parse(image(length=length))
    else:
        parse(image(length=length))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, (1 << 32) - 1), st.binary(max_size=40)), max_size=30))
def test_extensions_of_any_kind_end(extensions: list[tuple[int, bytes]]) -> None:
    sane(image(b"".join(extension(kind, data) for kind, data in extensions)))
