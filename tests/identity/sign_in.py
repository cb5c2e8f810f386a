"""Signs in at an OpenID Connect provider as a browser does: authorization code with PKCE (RFC 7636), forms filled in."""

import base64
import hashlib
import json
import re
import secrets
import ssl
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPMessage
from http.cookiejar import CookieJar
from typing import IO, Any

REDIRECT = "http://127.0.0.1/callback"


class _StopAtRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        request: urllib.request.Request,
        response: IO[bytes],
        code: int,
        words: str,
        headers: HTTPMessage,
        url: str,
    ) -> urllib.request.Request | None:
        return (
            None if url.startswith(REDIRECT) else super().redirect_request(request, response, code, words, headers, url)
        )


def id_token(issuer: str, client: str, person: str, context: ssl.SSLContext) -> str:
    """The ID token (OpenID Connect Core 1.0, section 3.1) that the provider gives the client for a person."""
    browser = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(CookieJar()), _StopAtRedirect()
    )
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    question = {
        "client_id": client,
        "response_type": "code",
        "scope": "openid groups",
        "redirect_uri": REDIRECT,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    url, form = f"{issuer}/auth?{urllib.parse.urlencode(question)}", None
    for _ in range(4):
        try:
            with browser.open(url, data=form) as page:
                text = page.read().decode()
        except urllib.error.HTTPError as answer:
            if answer.code not in (302, 303):
                raise AssertionError(answer.read().decode()) from answer
            code = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["Location"]).query)["code"][0]
            break
        url = urllib.parse.urljoin(issuer, re.search(r'action="([^"]+)"', text)[1])  # type: ignore[index]
        prompt = re.search(r'name="prompt" value="([^"]+)"', text)[1]  # type: ignore[index]
        form = urllib.parse.urlencode({"prompt": prompt, "login": person, "password": "any"}).encode()
    exchange = {
        "grant_type": "authorization_code",
        "client_id": client,
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": verifier,
    }
    with browser.open(f"{issuer}/token", data=urllib.parse.urlencode(exchange).encode()) as page:
        found: dict[str, Any] = json.loads(page.read())
    return str(found["id_token"])
