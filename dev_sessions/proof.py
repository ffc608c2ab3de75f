"""Proofs that both ends of a TCP connection have the gateway's token, which is never sent itself.

The client sends `GET /v1/challenge` with a nonce of its own. The gateway answers with another nonce and a proof over
both. Only then does the client send its request, with a proof over the nonces, the verb, the path and the body's
digest, which is valid for one request on one connection. See docs/protocol.md.
"""

from __future__ import annotations

import hashlib
import hmac
import os

# The headers of the challenge and its answer.
NONCE, PROOF = "Dev-Sessions-Nonce", "Dev-Sessions-Proof"
# The header Authorization is "DevSessions PROOF DIGEST".
SCHEME = "DevSessions"
CHALLENGE = "GET /v1/challenge"
# Remedies for errors of both sides.
HAND_OVER = (
    "on the host, dev-sessions gateway status shows whether the gateway runs, and names the file that holds its token; "
    "hand it to the container as DEV_SESSIONS_GATEWAY_TOKEN_FILE (mounted) or DEV_SESSIONS_GATEWAY_TOKEN"
)
OTHER_NAME = "call it by host.docker.internal, or start the gateway with DEV_SESSIONS_GATEWAY_HOSTS=NAME"


def nonce() -> str:
    """32 random hex digits, to be used once."""
    return os.urandom(16).hex()


def is_nonce(text: str) -> bool:
    """True for 32 to 128 hex digits."""
    return 32 <= len(text) <= 128 and set(text) <= set("0123456789abcdef")


def digest(body: bytes) -> str:
    """The SHA-256 of a request's body, in hex."""
    return hashlib.sha256(body).hexdigest()


def of_gateway(token: str, nonces: tuple[str, str]) -> str:
    """The gateway's proof, in hex; `nonces` are the client's and the gateway's."""
    return _mac(token, "gateway", *nonces)


def of_client(token: str, nonces: tuple[str, str], what: str, digest: str) -> str:
    """The client's proof for one request, in hex; `what` is its verb and path ("POST /v1/call")."""
    return _mac(token, "client", *nonces, what, digest)


def same(shown: str, expected: str) -> bool:
    """Compare two secrets, in a time that does not depend on where they differ."""
    return hmac.compare_digest(shown.encode(errors="replace"), expected.encode())


def _mac(token: str, *parts: str) -> str:
    # No part contains a line feed, and the first one names the side: a proof cannot be used in place of another one.
    return hmac.digest(token.encode(), "\n".join(parts).encode(errors="replace"), "sha256").hex()
