"""The official Python library, unmodified but for base URL and key, against a running Tollgate.

run.ts starts Tollgate with its demo upstream and says in the environment where it is.
"""

import asyncio
import os
import re
import unittest
import urllib.request

import openai
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel

URL = os.environ["GATE_URL"]
KEY = os.environ["GATE_KEY"]
# A key whose tenant may spend nothing, and one whose tenant may send nothing within a day.
POOR_KEY = os.environ["GATE_POOR_KEY"]
SPENT_KEY = os.environ["GATE_SPENT_KEY"]

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = "demo/chat"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Thing(BaseModel):
    name: str
    count: int


def client(key=KEY, **options):
    return OpenAI(base_url=f"{URL}/v1", api_key=key, **options)


def refused(reason):
    """How many asks Tollgate has refused for that reason: each is one request of the library."""
    with urllib.request.urlopen(f"{URL}/metrics") as answer:
        text = answer.read().decode()
    found = re.search(r'tollgate_asks_refused_total\{reason="%s"\} (\d+)' % reason, text)
    return int(found.group(1)) if found else 0


class Answers(unittest.TestCase):
    def test_chat(self):
        answer = client().chat.completions.create(model=CHAT, messages=HELLO)
        self.assertIn('You said: "Hello"', answer.choices[0].message.content)
        self.assertGreater(answer.usage.total_tokens, 0)
        self.assertEqual(answer._request_id, "req_tollgate_demo")

    def test_raw_headers(self):
        raw = client().chat.completions.with_raw_response.create(model=CHAT, messages=HELLO)
        self.assertTrue(raw.headers["tollgate-decision"].startswith("dec_"))
        self.assertEqual(raw.parse().object, "chat.completion")

    def test_stream_without_usage_that_nobody_asked_for(self):
        stream = client().chat.completions.create(model=CHAT, messages=HELLO, stream=True)
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        self.assertIn('You said: "Hello"', text)
        self.assertTrue(all(len(chunk.choices) == 1 for chunk in chunks))
        self.assertTrue(all("usage" not in chunk.model_fields_set for chunk in chunks))

    def test_stream_with_usage(self):
        stream = client().chat.completions.create(
            model=CHAT, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        self.assertEqual(chunks[-1].choices, [])
        self.assertGreater(chunks[-1].usage.completion_tokens, 0)

    def test_stream_helper(self):
        with client().chat.completions.stream(model=CHAT, messages=HELLO) as stream:
            final = stream.get_final_completion()
        self.assertEqual(final.choices[0].finish_reason, "stop")

    def test_tool_plain_and_streamed(self):
        ask = {
            "model": CHAT,
            "messages": [{"role": "user", "content": "Use get_weather"}],
            "tools": [WEATHER],
        }
        whole = client().chat.completions.create(**ask)
        call = whole.choices[0].message.tool_calls[0]
        self.assertEqual(call.function.name, "get_weather")
        with client().chat.completions.stream(**ask) as stream:
            streamed = stream.get_final_completion().choices[0].message.tool_calls[0]
        self.assertEqual(streamed.function.arguments, call.function.arguments)
        told = {"role": "tool", "tool_call_id": call.id, "content": "Sunny"}
        messages = [*ask["messages"], whole.choices[0].message, told]
        answer = client().chat.completions.create(**{**ask, "messages": messages})
        self.assertIn("Sunny", answer.choices[0].message.content)

    def test_structured_output(self):
        parsed = client().chat.completions.parse(
            model=CHAT, messages=HELLO, response_format=Thing
        )
        self.assertIsInstance(parsed.choices[0].message.parsed, Thing)

    def test_responses_plain_and_streamed(self):
        whole = client().responses.create(model=CHAT, input="Hello")
        self.assertIn('You said: "Hello"', whole.output_text)
        events = list(client().responses.create(model=CHAT, input="Hello", stream=True))
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        self.assertEqual(events[-1].type, "response.completed")
        with client().responses.stream(model=CHAT, input="Hello") as stream:
            self.assertEqual(stream.get_final_response().output_text, whole.output_text)

    def test_embeddings(self):
        ask = {"model": "demo/embedding", "input": ["a", "b"]}
        encoded = client().embeddings.create(**ask)
        plain = client().embeddings.create(**ask, encoding_format="float")
        self.assertEqual(len(encoded.data[0].embedding), 256)
        self.assertEqual(list(encoded.data[1].embedding), plain.data[1].embedding)

    def test_completions(self):
        answer = client().completions.create(model=CHAT, prompt="Hello")
        self.assertIn("Hello", answer.choices[0].text)

    def test_models(self):
        self.assertIn("demo-chat", [model.id for model in client().models.list()])
        self.assertEqual(client().models.retrieve("demo-chat").object, "model")

    def test_async_chat_and_stream(self):
        async def both():
            async with AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as asynchronous:
                whole = await asynchronous.chat.completions.create(model=CHAT, messages=HELLO)
                stream = await asynchronous.chat.completions.create(
                    model=CHAT, messages=HELLO, stream=True
                )
                parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
                return whole.choices[0].message.content, "".join(parts)

        whole, streamed = asyncio.run(both())
        self.assertEqual(whole, streamed)

    def test_azure(self):
        azure = AzureOpenAI(azure_endpoint=URL, api_key=KEY, api_version="2026-02-01")
        answer = azure.chat.completions.create(model="demo-chat", messages=HELLO)
        self.assertEqual(answer.object, "chat.completion")

    def test_run_in_the_base_url(self):
        named = OpenAI(base_url=f"{URL}/run/run_python/v1/", api_key=KEY)
        raw = named.chat.completions.with_raw_response.create(model=CHAT, messages=HELLO)
        self.assertEqual(raw.headers["tollgate-run"], "run_python")


class Refusals(unittest.TestCase):
    def test_no_money_is_402_and_asked_once(self):
        for stream in (False, True):
            before = refused("budget_exceeded")
            with self.assertRaises(openai.APIStatusError) as caught:
                client(POOR_KEY).chat.completions.create(
                    model=CHAT, messages=HELLO, stream=stream
                )
            self.assertEqual(caught.exception.status_code, 402)
            self.assertEqual(caught.exception.code, "budget_exceeded")
            self.assertEqual(caught.exception.type, "insufficient_quota")
            self.assertTrue(caught.exception.request_id.startswith("req_"))
            self.assertEqual(refused("budget_exceeded") - before, 1)

    def test_quota_of_the_day_is_402_and_asked_once(self):
        before = refused("quota_exceeded")
        with self.assertRaises(openai.APIStatusError) as caught:
            client(SPENT_KEY).chat.completions.create(model=CHAT, messages=HELLO)
        self.assertEqual(caught.exception.status_code, 402)
        self.assertEqual(refused("quota_exceeded") - before, 1)

    def test_unknown_route_is_403_and_asked_once(self):
        before = refused("route_not_allowed")
        with self.assertRaises(openai.PermissionDeniedError):
            client().post("/nothing/known", cast_to=object, body={})
        self.assertEqual(refused("route_not_allowed") - before, 1)

    def test_wrong_key_is_401(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            client("sk-wrong").chat.completions.create(model=CHAT, messages=HELLO)
        self.assertEqual(caught.exception.code, "invalid_api_key")

    def test_unknown_model_is_404(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            client().chat.completions.create(model="nobody/knows", messages=HELLO)
        self.assertEqual(caught.exception.code, "model_not_found")

    def test_wrong_type_is_400_with_its_name(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            client().chat.completions.create(model=CHAT, messages=HELLO, max_tokens="many")
        self.assertEqual(caught.exception.param, "max_tokens")

    def test_timeout(self):
        impatient = client(timeout=0.000_001, max_retries=0)
        with self.assertRaises(openai.APITimeoutError):
            impatient.chat.completions.create(model=CHAT, messages=HELLO)


if __name__ == "__main__":
    unittest.main(verbosity=2)
