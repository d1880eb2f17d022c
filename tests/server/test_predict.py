"""Predictions over HTTP."""

import asyncio
import json
from datetime import date

import pytest

from repertory.modules import Module, Predict, Prediction
from repertory.server.events import RequestCrashed, RequestServed
from repertory.testing import ScriptedLM
from tests.endpoint import Hang, Reply, ScriptedEndpoint
from tests.server.service import PATIENCE, PREDICT, SPAM, endpoint_config, mail, serving


class Diary(Module):
    """Two steps, and an output that is no JSON type."""

    def __init__(self) -> None:
        self.judge = mail()
        self.judge_again = mail()

    async def forward(self, text: str, day: date = date(2024, 2, 29)) -> Prediction:
        await self.judge(text=text)
        label = await self.judge_again(text=text)
        return Prediction(label=label.label, day=day)


async def test_a_prediction_has_outputs_usage_and_an_id() -> None:
    async with serving(ScriptedLM([SPAM])) as service:
        status, headers, answer = await service.predict({"text": "Win a prize!"})
        assert status == 200
        assert answer["outputs"] == {"label": "spam"}
        assert answer["usage"]["input_tokens"] > 0
        assert answer["usage"]["output_tokens"] == 2
        assert answer["lm_calls"] == 1
        assert answer["latency_ms"] >= 0
        assert len(answer["id"]) == 32
        assert headers["Content-Type"].startswith("application/json")
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Server"] == "repertory"
        served = await service.recorder.first(RequestServed)
        assert (served.method, served.path, served.status) == ("POST", PREDICT, 200)
        assert served.request_id == headers["X-Request-Id"]


async def test_a_composed_program_sums_up_its_steps_and_tells_typed_outputs_as_json() -> None:
    async with serving(ScriptedLM([SPAM, SPAM]), program=Diary()) as service:
        _, _, answer = await service.predict({"text": "Win!"})
        assert answer["outputs"] == {"label": "spam", "day": "2024-02-29"}
        assert answer["lm_calls"] == 2
        assert answer["usage"]["output_tokens"] == 4


async def test_integers_of_any_length_come_and_go_exactly() -> None:
    long = 123456789012345678901
    program = Predict("data: dict[str, int] -> total: int")
    async with (
        ScriptedEndpoint([Reply(f'{{"total": {long + 1}}}')]) as endpoint,
        serving(endpoint_config(endpoint.url), program=program) as service,
    ):
        status, _, answer = await service.predict({"data": {"a": long}})
    assert str(long) in endpoint.requests[0].last_message
    assert (status, answer["outputs"]) == (200, {"total": long + 1})


async def test_the_listing_shows_names_and_schemas() -> None:
    async with serving(ScriptedLM([])) as service, service.client.get("/v1/programs") as response:
        (listed,) = (await response.json())["programs"]
    assert listed["name"] == "mail"
    assert listed["inputs"]["properties"]["text"]["type"] == "string"
    assert listed["inputs"]["required"] == ["text"]
    assert listed["outputs"]["properties"]["label"]["enum"] == ["spam", "ham"]


async def test_what_comes_out_of_a_composed_program_is_not_made_up() -> None:
    async with serving(ScriptedLM([]), program=Diary()) as service, service.client.get("/v1/programs") as response:
        (listed,) = (await response.json())["programs"]
    assert listed["outputs"] == {"type": "object"}
    assert listed["inputs"]["required"] == ["text"]


async def test_a_client_that_leaves_takes_its_call_to_the_model_along() -> None:
    async with ScriptedEndpoint([Hang()]) as endpoint, serving(endpoint_config(endpoint.url)) as service:
        asking = asyncio.create_task(service.predict())
        async with asyncio.timeout(PATIENCE):
            await endpoint.arrived.acquire()
            asking.cancel()
            await endpoint.client_left.wait()
        served = await service.recorder.first(RequestServed)
        assert served.status == 499
        assert not service.recorder.of(RequestCrashed)
        assert await service.runtime.drain(PATIENCE)


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_crash() -> None:
    async with serving(ScriptedLM([])) as service:
        _, writer = await asyncio.open_connection(service.host, service.port)
        writer.write(
            f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            'Content-Length: 100\r\n\r\n{"te'.encode()
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await service.recorder.first(RequestServed)
        assert not service.recorder.of(RequestCrashed)


@pytest.mark.parametrize("asked", ["0.01", "1e-2"])
async def test_a_client_can_shorten_its_deadline(asked: str) -> None:
    async with ScriptedEndpoint([Hang()]) as endpoint, serving(endpoint_config(endpoint.url)) as service:
        status, _, answer = await service.predict(headers={"X-Timeout-Seconds": asked})
    assert (status, answer["code"]) == (504, "deadline_exceeded")


async def test_a_client_cannot_lengthen_its_deadline() -> None:
    async with (
        ScriptedEndpoint([Hang()]) as endpoint,
        serving(endpoint_config(endpoint.url), request_timeout=0.01) as service,
    ):
        status, _, answer = await service.predict(headers={"X-Timeout-Seconds": "3600"})
    assert (status, answer["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize("asked", ["soon", "0", "-1", "nan", "inf", ""])
async def test_a_deadline_that_is_none_is_refused(asked: str) -> None:
    async with serving(ScriptedLM([SPAM])) as service:
        status, _, answer = await service.predict(headers={"X-Timeout-Seconds": asked})
    assert (status, answer["code"], answer["field"]) == (400, "header_invalid", "X-Timeout-Seconds")


async def test_predictions_run_beside_each_other() -> None:
    both = asyncio.Barrier(2)

    class Meeting(Predict):
        async def complete(self, *args: object, **options: object) -> Prediction:
            await both.wait()
            return Prediction(label="spam")

    async with serving(ScriptedLM([]), program=Meeting("text -> label")) as service:
        async with asyncio.timeout(PATIENCE):
            answers = await asyncio.gather(service.predict(), service.predict())
    assert [status for status, _, _ in answers] == [200, 200]
    assert json.dumps(answers[0][2]["outputs"]) == '{"label": "spam"}'
