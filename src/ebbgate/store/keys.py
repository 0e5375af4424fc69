"""The keys of one gateway: what seals stored bytes and what turns ids into keys that say nothing.

    keys/            directory, mode 0700, outside the store's directory
      data.key       32 bytes, AES-256-GCM of payloads, dead letters and openings
      pepper.key     32 bytes, HMAC-SHA256 of event ids, claims, subjects and pseudonyms
      log.key        32 bytes, Ed25519 seed of the log's checkpoints
      node           the name of this node in log entries

Each file has mode 0600. Losing them loses the queue and the openings; the log still verifies. Nothing here is ever shown.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ebbgate.errors import ConfigError, StoreBroken
from ebbgate.model import Trust

KEY_BYTES: Final = 32
DIGEST_BYTES: Final = 16  #: of every HMAC that serves as a key in the store
_NONCE: Final = 12
_TAG: Final = 16
OVERHEAD: Final = 1 + _NONCE + _TAG  #: bytes that `seal` adds
_FILES: Final = ("data.key", "pepper.key", "log.key")
_NODE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


#: First byte of claim and order keys: with it, one HMAC serves both trust classes.
_TRUST: Final = {Trust.BROWSER: b"b", Trust.SERVER: b"s"}
_BLOCK: Final = 64  #: bytes of a block of SHA-256
_SUBJECTS: Final = 4096  #: ids of visitors of a site, twice over, whose keys are remembered: their next events follow soon
_NAMES: Final = 1024  #: event names


class KeyRing:
    """Seals, opens and derives. One instance a process; the AES object is made once (specs/performance.md §3)."""

    __slots__ = ("_aes", "_id", "_inner", "_log_seed", "_name", "_older", "_outer", "_prefix", "_subjects", "node")

    def __init__(self, data: bytes, pepper: bytes, log_seed: bytes, node: str, *, key_id: int = 1) -> None:
        if any(len(k) != KEY_BYTES for k in (data, pepper, log_seed)) or not _NODE.fullmatch(node):
            raise ConfigError("a key has the wrong length, or the node no usable name", code="keys")
        self._aes = AESGCM(data)
        # HMAC-SHA256 (RFC 2104) from the two states that every message begins with: a third of `hmac.digest`'s time.
        block = pepper.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
        self._log_seed = log_seed
        self._id = key_id
        self._prefix = bytes([key_id])
        self._subjects: dict[str, dict[str, bytes]] = {}  # site → subject → key
        self._older: dict[str, dict[str, bytes]] = {}
        #: What a name changes about the claim of an id: the same id of two names is two claims.
        self._name = lru_cache(maxsize=_NAMES)(lambda name: int.from_bytes(self._derive("claim", name)[1:]))
        self.node = node  #: this node's name in log entries

    def __repr__(self) -> str:
        return "KeyRing()"

    def __reduce__(self) -> str:
        raise TypeError("keys are not copied or pickled")

    @classmethod
    def ephemeral(cls, node: str = "local") -> KeyRing:
        """Fresh keys that live only in memory: tests and the demo."""
        data, pepper, log_seed = (secrets.token_bytes(KEY_BYTES) for _ in _FILES)
        return cls(data, pepper, log_seed, node)

    @classmethod
    def create(cls, directory: Path, *, node: str = "") -> KeyRing:
        """Make the files. Raises ConfigError when any is there already: a key is never overwritten."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        present = [name for name in (*_FILES, "node") if (directory / name).exists()]
        if present:
            raise ConfigError(
                f"{directory} already holds {', '.join(present)}",
                code="keys",
                hint="Keys are never overwritten: without the old ones the stored queue cannot be opened.",
            )
        for name in _FILES:
            _write(directory / name, secrets.token_bytes(KEY_BYTES))
        _write(directory / "node", (node or f"n{secrets.token_hex(4)}").encode() + b"\n")
        return cls.load(directory)

    @classmethod
    def load(cls, directory: Path) -> KeyRing:
        """Read the files. Raises ConfigError when one is missing, wrong, or readable by others."""
        if not directory.is_dir():
            hint = (
                "Put your copy of them there: a queue that is stored cannot be read without. Nothing stored yet? `ebbgate init` makes "
                "settings and keys in an empty folder. Kept elsewhere? `keys.directory` names the folder, --config the settings."
            )
            raise ConfigError(f"no keys in {directory}", code="keys", hint=hint)
        _private(directory, 0o077, "chmod 700")
        data, pepper, log_seed = (_read(directory / name, KEY_BYTES) for name in _FILES)
        try:
            node = _read(directory / "node").decode("ascii").strip()
        except UnicodeDecodeError:
            node = ""
        if not _NODE.fullmatch(node):
            hint = "1 to 32 of a-z, 0-9 and -, the name by which log entries know this node"
            raise ConfigError(f"{directory / 'node'} holds no usable name", code="keys", hint=hint)
        return cls(data, pepper, log_seed, node)

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """Key id (1 byte) ‖ nonce (12) ‖ AES-256-GCM ciphertext with tag; `aad` says where it belongs and must match."""
        nonce = os.urandom(_NONCE)
        return self._prefix + nonce + self._aes.encrypt(nonce, plain, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """What `seal` took. Raises StoreBroken for another key, another place or changed bytes."""
        if len(sealed) < OVERHEAD or sealed[0] != self._id:
            raise StoreBroken("stored bytes were sealed with another key", hint="Is keys.directory the one of this store?")
        try:
            return self._aes.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], aad)
        except InvalidTag:
            raise StoreBroken(
                "stored bytes do not open: changed, moved, or of another key", hint="Is keys.directory the one of this store?"
            ) from None

    def event_key(self, site: str, event_id: str) -> bytes:
        """16 bytes that find an event's story."""
        return self._of_id(site, event_id)[:DIGEST_BYTES]

    def claim_key(self, site: str, trust: Trust, name: str, event_id: str) -> bytes:
        """16 bytes that an event id claims; the trust class keeps strangers from poisoning it (specs/reliability.md §2.5)."""
        return self.event_keys(site, trust, name, event_id)[1]

    def event_keys(self, site: str, trust: Trust, name: str, event_id: str) -> tuple[bytes, bytes]:
        """(event key, claim key): both halves of one HMAC, since these are made for every event (docs/decisions/0008)."""
        digest = self._of_id(site, event_id)
        claim = int.from_bytes(digest[DIGEST_BYTES + 1 :]) ^ self._name(name)
        return digest[:DIGEST_BYTES], _TRUST[trust] + claim.to_bytes(DIGEST_BYTES - 1)

    def order_key(self, site: str, trust: Trust, name: str, order_id: str) -> bytes:
        """16 bytes that a conversion's order number claims."""
        return _TRUST[trust] + self._hmac(f"5:order{len(site)}:{site}{len(name)}:{name}{len(order_id)}:{order_id}")[1:DIGEST_BYTES]

    def subject_key(self, site: str, subject: str) -> bytes:
        """16 bytes for a person or browser: `user:…`, `client:…`."""
        return self.subject_keys(site, (subject,))

    def subject_keys(self, site: str, subjects: Sequence[str]) -> bytes:
        """The keys of all ids of one event, joined; `split_subject` takes them apart."""
        try:
            return b"".join(map(self._subjects[site].__getitem__, subjects))
        except KeyError:
            return b"".join([self._new_subject(site, subject) for subject in subjects])

    def _new_subject(self, site: str, subject: str) -> bytes:
        """The key of a subject, remembered. Two generations: what was asked for since the last change is kept at the next."""
        recent = self._subjects.setdefault(site, {})
        key = recent.get(subject)
        if key is None:
            older = self._older.setdefault(site, {})
            key = older.get(subject) or self._derive("subject", site, subject)
            if len(recent) >= _SUBJECTS:
                self._older[site] = recent
                recent = self._subjects[site] = {}
            recent[subject] = key
        return key

    def pseudonym(self, value: str) -> str:
        """Keyed pseudonym for `pseudonymise:`: key id and 32 hex digits. Another key id means another pseudonym."""
        return f"p{self._id}-{self._derive('pseudonym', value).hex()}"

    def pass_for(self, purpose: str, minute: int) -> str:
        """What only a holder of these keys can say in this minute (since 1970 UTC): 32 hex digits."""
        return self._derive("pass", purpose, str(minute)).hex()

    def log_seed(self) -> bytes:
        """Ed25519 seed of the log's checkpoints."""
        return self._log_seed

    def mark(self) -> bytes:
        """What a store keeps to know its keys again (`differs`): a digest of the pepper, and that digest sealed."""
        own = self._derive("store", "mark")
        return own + self.seal(own, b"mark")

    def differs(self, mark: bytes) -> str:
        """Name of the key file that is not the one by which `mark` was made; empty when both are."""
        own = self._derive("store", "mark")
        if mark[:DIGEST_BYTES] != own:
            return "pepper.key"
        try:
            return "" if self.open(mark[DIGEST_BYTES:], b"mark") == own else "data.key"
        except StoreBroken:
            return "data.key"

    def _derive(self, *parts: str) -> bytes:
        # Lengths stand before the parts, so that ("a", "bc") and ("ab", "c") differ.
        return self._hmac("".join([f"{len(part)}:{part}" for part in parts]))[:DIGEST_BYTES]

    def _of_id(self, site: str, event_id: str) -> bytes:
        return self._hmac(f"5:event{len(site)}:{site}{len(event_id)}:{event_id}")

    def _hmac(self, message: str) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message.encode("utf-8", "surrogatepass"))
        outer.update(inner.digest())
        return outer.digest()


def server_twin(key: bytes) -> bytes:
    """What a server would claim with the same words as this claim or order key."""
    return _TRUST[Trust.SERVER] + key[1:]


def split_subject(joined: bytes) -> tuple[bytes, ...]:
    """The keys of which an event's subject is made, strongest first."""
    return tuple([joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)])


def concerns(joined: bytes, subject: bytes) -> bool:
    """True when a subject's key is among the keys that an event carries, joined, 16 bytes each."""
    return subject != b"" and (
        joined == subject or any(joined[at : at + DIGEST_BYTES] == subject for at in range(0, len(joined), DIGEST_BYTES))
    )


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # a key that a power cut takes back would take the queue with it
    finally:
        os.close(directory)


def _read(path: Path, length: int | None = None) -> bytes:
    try:
        _private(path, 0o077, "chmod 600")
        found = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror})", code="keys", hint="Restore it, or check its owner."
        ) from None
    if length is not None and len(found) != length:
        raise ConfigError(f"{path} is not a key of {length} bytes", code="keys", hint="Restore it from your copy of the keys.")
    return found


def _private(path: Path, forbidden: int, remedy: str) -> None:
    if stat.S_IMODE(path.stat().st_mode) & forbidden:
        raise ConfigError(f"{path} can be read by others", code="keys", hint=f"{remedy} {path}")
