"""Access tokens for Google's APIs from a service-account key: the JWT bearer grant of RFC 7523, RS256. Pure: the time is given."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

from ebbgate.destinations import wire
from ebbgate.destinations.kit import HttpRequest

TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, no secret
LIFETIME_S: Final = 3600
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def service_account(credentials: SecretStr) -> tuple[str, RSAPrivateKey]:
    """(e-mail of the account, key) of a service-account key file. Raises ValueError that quotes nothing of it."""
    try:
        found = msgspec.json.decode(credentials.get_secret_value())
        email, pem = found["client_email"], found["private_key"]
        key = load_pem_private_key(pem.encode(), None)
    except (msgspec.DecodeError, UnsupportedAlgorithm, KeyError, TypeError, AttributeError, ValueError):
        raise ValueError("credentials are not a service-account key") from None
    if not isinstance(key, RSAPrivateKey) or not isinstance(email, str) or found.get("token_uri", TOKEN_URL) != TOKEN_URL:
        raise ValueError("credentials are not a Google service-account key")
    return email, key


def token_request(credentials: SecretStr, scope: str, now_s: int, *, endpoint: str | None = None) -> HttpRequest:
    """The request for a token of one hour; `endpoint` is a stand-in for tests."""
    email, key = service_account(credentials)
    claims = {"iss": email, "scope": scope, "aud": TOKEN_URL, "iat": now_s, "exp": now_s + LIFETIME_S}
    signed = b".".join(_base64url(wire.encode(part)) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    assertion = b".".join((signed, _base64url(key.sign(signed, PKCS1v15(), SHA256()))))
    body = urlencode({"grant_type": _GRANT, "assertion": assertion.decode()}).encode()
    url = f"{endpoint}/token" if endpoint else TOKEN_URL
    return HttpRequest("POST", url, (("content-type", "application/x-www-form-urlencoded"),), body, secret_keys=("assertion",))


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def with_token(request: HttpRequest, token: str) -> HttpRequest:
    """The request with `Authorization: Bearer`."""
    kept = tuple((k, v) for k, v in request.headers if k != "authorization")
    headers = (*kept, ("authorization", f"Bearer {token}"))
    return replace(request, headers=headers, secret_headers=("authorization",))
