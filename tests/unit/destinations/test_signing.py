from __future__ import annotations

import base64
import hmac
import re
from hashlib import sha256
from urllib.parse import parse_qs, unquote

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr, ValidationError

from ebbgate.destinations import google_auth, s3, webhook, x
from ebbgate.destinations.kit import HttpRequest


def test_webhook_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks specification comes out with its published signature."""
    settings = webhook.Settings(url="https://hook.example/", secret=SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    request = HttpRequest("POST", settings.url, (("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),), b'{"test": 2432232314}')
    signed = dict(webhook.sign(request, settings, 1614265330).headers)
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signed["webhook-timestamp"] == "1614265330"


def test_a_repeat_is_signed_afresh_with_the_same_body_and_id() -> None:
    """Only time and signature change between attempts; with two secrets there are two signatures."""
    secrets = " ".join("whsec_" + base64.b64encode(bytes([i]) * 32).decode() for i in (1, 2))
    settings = webhook.Settings(url="https://hook.example/", secret=SecretStr(secrets))
    first = webhook.envelope([{"id": "e 1", "body": {"a": 1}}], settings)
    one, two = webhook.sign(first, settings, 100), webhook.sign(webhook.sign(first, settings, 100), settings, 200)
    assert one.body == two.body == first.body
    kept = {"webhook-timestamp", "webhook-signature"}
    assert [h for h in one.headers if h[0] not in kept] == [h for h in two.headers if h[0] not in kept]
    assert len(dict(two.headers)["webhook-signature"].split(" ")) == 2
    assert [k for k, _ in two.headers].count("webhook-signature") == 1
    assert re.fullmatch(r"[0-9a-f]{64}", dict(one.headers)["webhook-id"])  # an id with a blank is no header value


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_%%%", "whsec_" + base64.b64encode(b"short").decode()])
def test_a_weak_webhook_secret_is_refused_without_being_quoted(secret: str) -> None:
    """A secret must be base64 of 24 to 64 bytes; the error does not repeat it."""
    with pytest.raises(ValidationError) as caught:
        webhook.Settings(url="https://hook.example/", secret=SecretStr(secret))
    assert not secret or secret.removeprefix("whsec_") not in str(caught.value) or secret == "whsec_"


def test_s3_signature_is_that_of_the_documentation() -> None:
    """The PUT example of Amazon's page on Signature Version 4 comes out with its published signature."""
    settings = s3.Settings(
        bucket="examplebucket",
        region="us-east-1",
        access_key_id="AKIAIOSFODNN7EXAMPLE",
        secret_access_key=SecretStr("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    )
    body = b"Welcome to Amazon S3."
    headers = (
        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
        ("x-amz-content-sha256", sha256(body).hexdigest()),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
    )
    request = HttpRequest("PUT", "https://examplebucket.s3.amazonaws.com/test%24file.text", headers, body)
    signed = dict(s3.sign(request, settings, 1369353600).headers)
    assert signed["authorization"].endswith("Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")


def test_oauth_1_signature_verifies() -> None:
    """HMAC-SHA1 over method, address and the OAuth parameters, keyed with both secrets (RFC 5849 §3.4)."""
    keys = {k: SecretStr(f"{k}&/") for k in ("consumer_key", "consumer_secret", "oauth_token", "oauth_token_secret")}
    settings = x.Settings(pixel_id="p", event_ids={"purchase": "tw-p-1"}, **keys)
    request = x.sign(x.envelope([{"a": 1}], settings), settings, 1_700_000_000)
    header = dict(request.headers)["authorization"]
    assert header.startswith("OAuth ")
    given = {k: unquote(v) for k, v in re.findall(r'(\w+)="([^"]*)"', header)}
    signature = given.pop("oauth_signature")
    pairs = "%26".join(f"{k}%3D{_twice(v)}" for k, v in sorted(given.items()))
    text = f"POST&https%3A%2F%2Fads-api.x.com%2F12%2Fmeasurement%2Fconversions%2Fp&{pairs}"
    key = b"consumer_secret%26%2F&oauth_token_secret%26%2F"
    assert signature == base64.b64encode(hmac.digest(key, text.encode(), "sha1")).decode()
    assert "authorization" in request.secret_headers


def _twice(text: str) -> str:
    once = "".join(c if c.isalnum() or c in "-._~" else f"%{ord(c):02X}" for c in text)
    return "".join(c if c.isalnum() or c in "-._~" else f"%{ord(c):02X}" for c in once)


def test_x_takes_one_way_of_authorisation() -> None:
    """A pixel token or all four keys; neither, both or some of them are refused."""
    base = {"pixel_id": "p", "event_ids": {"purchase": "e"}}
    for more in ({}, {"consumer_key": "k"}, {"access_token": "t", "consumer_key": "k"}):
        with pytest.raises(ValidationError):
            x.Settings.model_validate({**base, **more})


def test_google_tokens_are_asked_for_with_a_signed_assertion() -> None:
    """The JWT names the service account, the scope and an hour, and verifies with the account's key."""
    key = generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    credentials = SecretStr(msgspec.json.encode({"client_email": "robot@acme.example", "private_key": pem}).decode())
    request = google_auth.token_request(credentials, "scope-a", 1_700_000_000)
    assertion = parse_qs(request.body.decode())["assertion"][0]
    head, claims, signature = assertion.split(".")
    padded = {part: base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (head, claims, signature)}
    found = msgspec.json.decode(padded[claims])
    assert (found["iss"], found["scope"], found["exp"] - found["iat"]) == ("robot@acme.example", "scope-a", 3600)
    key.public_key().verify(padded[signature], f"{head}.{claims}".encode(), PKCS1v15(), SHA256())


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"client_email": "a", "private_key": "no key"}', '{"client_email": 1, "private_key": 2}']
)
def test_a_broken_service_account_key_is_refused_without_being_quoted(text: str) -> None:
    """The error says what is wrong and repeats nothing of the file."""
    with pytest.raises(ValueError, match="service-account key") as caught:
        google_auth.service_account(SecretStr(text))
    assert "no key" not in str(caught.value)
