"""The signing key's file: made once, private, whole, and never replaced."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from workflow.journal.keys import UnusableKey, load_or_make_key


def pem_of(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tillproof.db.key"


def test_the_first_start_makes_a_key_that_later_starts_read(path):
    made = load_or_make_key(path)
    assert load_or_make_key(path).private_bytes_raw() == made.private_bytes_raw()


def test_a_made_key_is_an_unencrypted_pkcs8_pem_that_only_its_owner_may_read(path):
    made = load_or_make_key(path)
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert load_pem_private_key(path.read_bytes(), password=None).private_bytes_raw() == made.private_bytes_raw()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_but_the_key_is_left_behind(path):
    load_or_make_key(path)
    assert os.listdir(path.parent) == [path.name]
    assert path.stat().st_nlink == 1


def test_the_draft_of_a_process_that_was_killed_is_removed_and_nothing_else(path):  # K10 I13
    draft, backup = path.with_name(f".{path.name}.abcd_123.draft"), path.with_name(f"{path.name}.backup0")
    for left in (draft, backup):
        left.write_bytes(b"a key")
    load_or_make_key(path)
    assert sorted(os.listdir(path.parent)) == sorted([path.name, backup.name])


def test_two_places_get_two_keys(path):
    assert load_or_make_key(path).private_bytes_raw() != load_or_make_key(path.with_suffix(".other")).private_bytes_raw()


def test_starts_at_the_same_time_all_get_one_key(path):
    together = Barrier(8)

    def start():
        together.wait()
        return load_or_make_key(path).private_bytes_raw()

    with ThreadPoolExecutor(8) as threads:
        keys = {future.result() for future in [threads.submit(start) for _ in range(8)]}
    assert len(keys) == 1
    assert os.listdir(path.parent) == [path.name]


def test_a_key_made_elsewhere_is_read(path):
    key = Ed25519PrivateKey.generate()
    path.write_bytes(pem_of(key))
    assert load_or_make_key(path).private_bytes_raw() == key.private_bytes_raw()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not an unencrypted PEM private key"),
        (b"not a key\n", "not an unencrypted PEM private key"),
        (pem_of(Ed25519PrivateKey.generate())[:60], "not an unencrypted PEM private key"),
        (pem_of(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")), "not an unencrypted PEM private key"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "not an Ed25519 key"),
    ],
    ids=["empty", "garbage", "cut off", "encrypted", "another algorithm"],
)
def test_a_file_that_holds_no_ed25519_key_is_refused_and_kept(path, content, complaint):
    path.write_bytes(content)
    with pytest.raises(UnusableKey, match=complaint) as refusal:
        load_or_make_key(path)
    assert str(path) in str(refusal.value)
    assert path.read_bytes() == content


def test_a_path_that_cannot_be_read_is_refused(path):
    path.mkdir()
    with pytest.raises(UnusableKey, match="directory"):
        load_or_make_key(path)


def test_a_place_where_no_file_can_be_made_is_refused(path):
    path.write_text("a file where a folder is needed")
    with pytest.raises(UnusableKey, match="exists|directory"):
        load_or_make_key(path / "absent" / "till.key")


def test_a_dangling_link_is_refused_and_kept(path):
    path.symlink_to("absent.key")
    with pytest.raises(UnusableKey, match="No such file"):
        load_or_make_key(path)
    assert os.listdir(path.parent) == [path.name]
