"""README's aiohttp service answers: the demo's program inside somebody else's application."""

import re
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.local_model
async def test_the_service_in_the_readme_tells_a_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    (service,) = [block for block in blocks if "web.Application()" in block]
    names: dict[str, object] = {"__name__": "readme_service"}
    exec(compile(service, "README.md", "exec"), names)
    app = names["app"]
    assert isinstance(app, web.Application)
    async with TestClient(TestServer(app)) as client:
        response = await client.post("/topic", data="Striker signs for Chelsea after a record transfer")
        assert response.status == 200
        assert await response.json() == {"topic": "sports"}
    assert (tmp_path / "app.db").is_file()
