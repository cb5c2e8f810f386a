"""Asking what listens on this machine, past the proxy that an organisation's machines are told to use for everything else."""

import ssl
import urllib.request
from http.client import HTTPResponse
from typing import cast


def ask(request: urllib.request.Request | str, context: ssl.SSLContext, seconds: float) -> HTTPResponse:
    """The answer over HTTPS; to be closed. Raises OSError where nobody answers within `seconds`, or with a status of 400 on.

    `HTTPS_PROXY` and its like are for the network: they know nothing of this machine's own addresses.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    return cast("HTTPResponse", direct.open(request, timeout=seconds))
