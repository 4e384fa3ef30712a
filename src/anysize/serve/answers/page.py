"""``/``: one self-contained page on which a person sees what a smaller size costs. It asks nobody but this server."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from anysize.serve.held.house import House


@cache
def content() -> tuple[bytes, str]:
    """The page, and a policy under which its own script runs and no other."""
    page = (files("anysize.serve") / "page.html").read_text("utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:"
    return page.encode(), f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


async def page(house: House, request: Request, arrived: float) -> Response:
    """The page."""
    found, policy = content()
    return Response(found, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy})
