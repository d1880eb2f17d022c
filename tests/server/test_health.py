"""What process managers, load balancers and Prometheus ask."""

import sqlite3
from contextlib import closing
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from repertory.errors import CircuitOpen
from repertory.server.events import RequestServed
from repertory.testing import ScriptedLM
from tests.endpoint import Reply, ScriptedEndpoint, Status
from tests.server.service import SPAM, Service, endpoint_config, serving


async def test_ready_while_it_runs() -> None:
    async with serving(ScriptedLM([])) as service:
        assert await get(service, "/health/live") == (200, {"status": "live"})
        assert await get(service, "/health/ready") == (200, {"status": "ready"})


async def test_health_checks_that_went_well_are_not_told() -> None:
    async with serving(ScriptedLM([])) as service:
        await get(service, "/health/ready")
        service.requests.announced = True
        await get(service, "/health/ready")
        assert [each.status for each in service.recorder.of(RequestServed)] == [503]


async def test_not_ready_while_a_circuit_is_open() -> None:
    async with ScriptedEndpoint([Status(401)]) as endpoint, serving(endpoint_config(endpoint.url)) as service:
        await service.predict()
        status, answer = await get(service, "/health/ready")
        assert status == 503
        assert answer["reasons"] == ["the circuit of the language model 'default' is open"]
        assert (await get(service, "/health/live"))[0] == 200


FILL = "CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'disk full'); END"


async def test_not_ready_while_the_journal_cannot_be_written(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    async with serving(ScriptedLM([]), store=store) as service:
        with closing(sqlite3.connect(store)) as disk:
            disk.execute(FILL)
        assert (await service.predict())[0] == 503
        status, answer = await get(service, "/health/ready")
        assert status == 503
        assert answer["reasons"] == ["the journal cannot be written; the log and repertory ps tell why"]


async def test_ready_without_any_traffic_once_the_journal_can_be_written_again(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    async with serving(ScriptedLM([]), store=store) as service:
        with closing(sqlite3.connect(store)) as disk:
            disk.execute(FILL)
            assert (await service.predict())[0] == 503
            disk.execute("DROP TRIGGER full")
        assert (await get(service, "/health/ready"))[0] == 200


async def test_not_ready_while_it_drains_and_connections_are_not_kept() -> None:
    async with serving(ScriptedLM([])) as service:
        service.requests.announced = True
        async with service.client.get("/health/ready") as response:
            assert response.status == 503
            assert "Retry-After" in response.headers
            assert response.headers["Connection"] == "close"
            assert "draining" in str(await response.json())


async def test_not_ready_once_the_runtime_takes_no_work() -> None:
    async with serving(ScriptedLM([])) as service:
        await service.runtime.drain(0)
        assert (await get(service, "/health/ready"))[0] == 503
        status, _, problem = await service.predict()
        assert (status, problem["code"]) == (503, "runtime_closed")


async def test_metrics_count_runs_and_calls() -> None:
    async with (
        ScriptedEndpoint([Reply(SPAM), Status(500)]) as endpoint,
        serving(endpoint_config(endpoint.url)) as service,
    ):
        await service.predict()
        await service.predict()
        async with service.client.get("/metrics") as response:
            assert response.headers["Content-Type"].startswith("text/plain")
            samples = {
                (sample.name, *sorted(sample.labels.values())): sample.value
                for family in text_string_to_metric_families(await response.text())
                for sample in family.samples
            }
    assert samples["repertory_runs_total", "mail", "ok"] == 1
    assert samples["repertory_runs_total", "lm_server_error", "mail"] == 1
    assert samples["repertory_run_seconds_count", "mail"] == 2
    assert samples["repertory_lm_calls_total", "default", "ok"] == 1
    assert samples["repertory_lm_calls_total", "default", "lm_server_error"] == 1
    assert samples["repertory_lm_tokens_total", "default", "input"] == 11
    assert samples["repertory_lm_tokens_total", "default", "output"] == 7
    assert samples["repertory_circuit_state", "default"] == 0


async def test_metrics_come_as_openmetrics_on_request() -> None:
    async with serving(ScriptedLM([CircuitOpen("open")])) as service:
        headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with service.client.get("/metrics", headers=headers) as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await response.text()).endswith("# EOF\n")


async def get(service: Service, path: str) -> tuple[int, dict[str, object]]:
    async with service.client.get(path) as response:
        return response.status, await response.json()
