"""The page at `/`: who gets it, and that nothing but itself can run in it."""

from __future__ import annotations

import base64
import hashlib
import re

from slipway_serving.apis.page import FILE


async def test_a_browser_gets_the_page_and_a_program_the_paths(iris, serving):
    async with serving(iris) as client:
        listed = await client.get("/")
        assert listed.json()["paths"] == ["/predict", "/v2/models/iris", "/v1/models", "/openapi.json", "/metrics"]
        assert listed.headers["vary"] == "accept"
        page = await client.get("/", headers={"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.content == FILE.read_bytes()
        assert "accept" in page.headers["vary"].split(", ")


async def test_only_what_is_in_the_page_may_run(iris, serving):
    async with serving(iris) as client:
        page = await client.get("/", headers={"accept": "text/html"})
    rules = dict(rule.strip().split(" ", 1) for rule in page.headers["content-security-policy"].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    for kind in ("script", "style"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in page.headers["content-security-policy"]


def test_the_page_needs_nothing_from_elsewhere():
    text = FILE.read_text()
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", text)
    assert not re.findall(r"\son[a-z]+=", text)
    assert "innerHTML" not in text
    assert 'lang="en"' in text
    labelled = re.findall(r"<label for=\"(\w+)\"", text)
    assert all(f'id="{name}"' in text for name in labelled)


async def test_the_page_is_the_same_whatever_the_models(iris, python_model, serving):
    """Anybody gets it, where everything else needs a key."""
    pages = []
    for path in (iris, python_model()):
        async with serving(path) as client:
            pages.append((await client.get("/", headers={"accept": "text/html"})).content)
    assert pages[0] == pages[1] == FILE.read_bytes()


def test_the_page_keeps_a_key_in_its_tab_and_sends_it_in_the_header_alone():
    text = FILE.read_text()
    assert "localStorage" not in text
    assert "document.cookie" not in text
    assert "headers.authorization = `Bearer ${key()}`" in text
    assert text.count("fetch(") == 1  # no call of it goes without the key
    assert 'type="password"' in text
