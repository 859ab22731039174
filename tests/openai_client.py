"""The official OpenAI client against a running kefu (address in KEFU_URL): what its users rely on."""

import os

import openai

client = openai.OpenAI(base_url=os.environ["KEFU_URL"] + "/v1", api_key=os.environ.get("KEFU_KEY", "none"))

names = [model.id for model in client.models.list()]
assert "kefu" in names, names
language = next(name for name in names if name not in ("kefu", "multilingual-e5-small"))

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
