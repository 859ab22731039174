"""The official OpenAI client against a running kefu (address in KEFU_URL): what its users rely on."""

import json
import os
import urllib.request

import openai

client = openai.OpenAI(base_url=os.environ["KEFU_URL"] + "/v1", api_key=os.environ.get("KEFU_KEY", "none"))

names = [model.id for model in client.models.list()]
assert "kefu" in names, names
language = next(name for name in names if name not in ("kefu", "multilingual-e5-small", "kefu-reader"))

question = [{"role": "user", "content": "信用卡丢了怎么挂失？"}]
reply = client.chat.completions.create(model="kefu", messages=question)
text = reply.choices[0].message.content
assert text and reply.choices[0].finish_reason == "stop", reply
citations = reply.choices[0].message.model_extra["citations"]
assert citations and citations[0]["quote"], reply

streamed = client.chat.completions.create(model="kefu", messages=question, stream=True, stream_options={"include_usage": True})
chunks = list(streamed)
assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
assert chunks[-1].usage is not None and not chunks[-1].choices

counted = client.chat.completions.create(
    model=language,
    messages=[{"role": "user", "content": "Say the word yes."}],
    max_tokens=8,
    temperature=0,
    seed=7,
    logprobs=True,
    top_logprobs=3,
)
assert counted.usage.prompt_tokens > 5 and 0 < counted.usage.completion_tokens <= 8, counted.usage
tokens = counted.choices[0].logprobs.content
assert tokens and len(tokens[0].top_logprobs) == 3 and tokens[0].logprob <= 0

vectors = client.embeddings.create(model="multilingual-e5-small", input=["信用卡年费", "credit card annual fee", "今天天气"]).data
dot = lambda a, b: sum(x * y for x, y in zip(a.embedding, b.embedding))
assert abs(dot(vectors[0], vectors[0]) - 1) < 1e-3
assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2])

assert len(client.embeddings.create(model="multilingual-e5-small", input="年费", dimensions=64).data[0].embedding) == 64

continued = client.completions.create(model=language, prompt="1, 2, 3, 4,", max_tokens=6, temperature=0, logprobs=2)
assert "5" in continued.choices[0].text and continued.usage.completion_tokens <= 6, continued
assert len(continued.choices[0].logprobs.tokens) == len(continued.choices[0].logprobs.token_logprobs)
pieces = client.completions.create(model=language, prompt="1, 2, 3, 4,", max_tokens=6, temperature=0, stream=True)
assert "".join(piece.choices[0].text for piece in pieces) == continued.choices[0].text

schema = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "nights": {"type": "integer", "minimum": 1, "maximum": 30}},
    "required": ["city", "nights"],
    "additionalProperties": False,
}
formatted = client.chat.completions.create(
    model=language,
    messages=[{"role": "user", "content": "Write as JSON: three nights in Hangzhou."}],
    response_format={"type": "json_schema", "json_schema": {"name": "stay", "strict": True, "schema": schema}},
    max_tokens=80,
    seed=1,
)
stay = json.loads(formatted.choices[0].message.content)
assert set(stay) == {"city", "nights"} and 1 <= stay["nights"] <= 30, stay

function = {"name": "order_status", "description": "查询订单状态", "parameters": {
    "type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"], "additionalProperties": False}}
order = [{"role": "user", "content": "订单 4711 到哪了？"}]
tools = [{"type": "function", "function": function}]
called = client.chat.completions.create(
    model=language, messages=order, tools=tools, tool_choice="required", parallel_tool_calls=False, temperature=0, max_tokens=80
)
assert called.choices[0].finish_reason == "tool_calls", called
call = called.choices[0].message.tool_calls[0]
assert call.function.name == "order_status" and isinstance(json.loads(call.function.arguments)["id"], int), call
deltas = client.chat.completions.create(
    model=language, messages=order, tools=tools, tool_choice="required", parallel_tool_calls=False, temperature=0, max_tokens=80,
    stream=True,
)
parts = [part for chunk in deltas for part in chunk.choices[0].delta.tool_calls or []]
assert parts[0].function.name == "order_status"
assert "".join(part.function.arguments for part in parts) == call.function.arguments
answered = client.chat.completions.create(
    model=language,
    messages=[*order, called.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "明天送达"}],
    tools=tools,
    max_tokens=40,
    temperature=0,
)
assert answered.choices[0].message.content or answered.choices[0].message.tool_calls, answered

body = json.dumps({"model": "kefu-reader", "query": "信用卡丢了怎么挂失？", "documents": ["今天天气很好。", "信用卡遗失请立即拨打客服热线挂失。"]})
headers = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ.get("KEFU_KEY", "none")}
request = urllib.request.Request(os.environ["KEFU_URL"] + "/v1/rerank", body.encode(), headers)
ranked = json.load(urllib.request.urlopen(request))["results"]
assert [result["index"] for result in ranked] == [1, 0] and ranked[0]["relevance_score"] > ranked[1]["relevance_score"], ranked

for wrong in ({"temperature": 9}, {"n": 2}, {"max_tokens": -1}):
    try:
        client.chat.completions.create(model="kefu", messages=question, **wrong)
    except openai.BadRequestError as error:
        assert error.body["message"], error
    else:
        raise AssertionError(f"{wrong} was accepted")
try:
    client.chat.completions.create(model="no-such-model", messages=question)
except openai.NotFoundError:
    pass
else:
    raise AssertionError("an unknown model was accepted")
print("the official client works")
