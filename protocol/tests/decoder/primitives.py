"""What docs/protocol.md takes from elsewhere: AEAD, HKDF, HPKE (RFC 9180), X-Wing, signatures."""

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TAG = 16


class Refused(Exception):
    """Bytes that a receiver must drop."""


def need(condition, why):
    if not condition:
        raise Refused(why)


def hmac_sha256(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def expand(secret, info, length=32):
    """HKDF-Expand of RFC 5869 with SHA-256."""
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac_sha256(secret, block + info + bytes([counter]))
        out += block
        counter += 1
    return out[:length]


def aes_block(key, block):
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def gcm_seal(key, nonce, aad, text):
    """Ciphertext, then tag."""
    return AESGCM(key).encrypt(nonce, text, aad)


def gcm_open(key, nonce, aad, sealed):
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise Refused("AEAD does not open") from None


# --- HPKE, base mode, HKDF-SHA256, AES-256-GCM -------------------------------------------------

SUITES = {1: (0x647A, 1120), 2: (0x0020, 32)}
KDF, AEAD = 0x0001, 0x0002


def labeled_extract(suite_id, salt, label, ikm):
    return hmac_sha256(salt or bytes(32), b"HPKE-v1" + suite_id + label + ikm)


def labeled_expand(suite_id, prk, label, info, length):
    start = length.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label
    return expand(prk, start + info, length)


def decapsulate_x25519(private, enc):
    """DHKEM(X25519, HKDF-SHA256), RFC 9180 section 4.1."""
    suite_id = b"KEM" + (0x0020).to_bytes(2, "big")
    key = X25519PrivateKey.from_private_bytes(private)
    try:
        dh = key.exchange(X25519PublicKey.from_public_bytes(enc))
    except ValueError:
        raise Refused("not a point to share a secret with") from None
    context = enc + key.public_key().public_bytes_raw()
    prk = labeled_extract(suite_id, b"", b"eae_prk", dh)
    return labeled_expand(suite_id, prk, b"shared_secret", context, 32)


def decapsulate_xwing(seed, enc):
    """X-Wing, draft-connolly-cfrg-xwing-kem section 5."""
    expanded = hashlib.shake_256(seed).digest(96)
    mlkem, x25519 = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), expanded[64:]
    ct_m, ct_x = enc[:1088], enc[1088:]
    key = X25519PrivateKey.from_private_bytes(x25519)
    ss_x = key.exchange(X25519PublicKey.from_public_bytes(ct_x))
    pk_x = key.public_key().public_bytes_raw()
    label = bytes.fromhex("5c2e2f2f5e5c")
    return hashlib.sha3_256(mlkem.decapsulate(ct_m) + ss_x + ct_x + pk_x + label).digest()


def public_key(suite, private):
    if suite == 2:
        return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    expanded = hashlib.shake_256(private).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).public_key().public_bytes_raw()
    return mlkem + public_key(2, expanded[64:])


class Context:
    """A receiver's HPKE context, RFC 9180 section 5.1."""

    def __init__(self, suite, private, enc, info):
        kem_id, enc_length = SUITES[suite]
        need(len(enc) == enc_length, "length of enc")
        shared = (decapsulate_xwing if suite == 1 else decapsulate_x25519)(private, enc)
        self.suite_id = b"HPKE" + b"".join(i.to_bytes(2, "big") for i in (kem_id, KDF, AEAD))
        psk_id_hash = labeled_extract(self.suite_id, b"", b"psk_id_hash", b"")
        info_hash = labeled_extract(self.suite_id, b"", b"info_hash", info)
        secret = labeled_extract(self.suite_id, shared, b"secret", b"")
        of = lambda label, n: labeled_expand(
            self.suite_id, secret, label, b"\x00" + psk_id_hash + info_hash, n
        )
        self.key, self.nonce, self.exporter = of(b"key", 32), of(b"base_nonce", 12), of(b"exp", 32)

    def open_first(self, aad, sealed):
        """Sequence number 0: the nonce is the base nonce."""
        return gcm_open(self.key, self.nonce, aad, sealed)

    def export(self, label):
        return labeled_expand(self.suite_id, self.exporter, b"sec", label, 32)


# --- Signatures --------------------------------------------------------------------------------


def ed25519_public(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def ed25519_sign(seed, message):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def ed25519_verify(public, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise Refused("claim's signature") from None


def rsapss_verify(der, signature, message):
    key = serialization.load_der_public_key(der)
    need(key.key_size == 2048, "size of the issuer's key")
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
    try:
        key.verify(signature, message, pss, hashes.SHA384())
    except InvalidSignature:
        raise Refused("token's signature") from None
