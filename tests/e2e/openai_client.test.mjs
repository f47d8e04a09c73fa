// The official client drives the server as its users do. Nothing here depends on what the model says.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import OpenAI from 'openai';

import {apiKey, baseUrl, eventually, metric, model, offersTools, postJson} from './server.mjs';

const client = new OpenAI({baseURL: `${baseUrl}/v1`, apiKey: apiKey || 'none', maxRetries: 0});
const ask = [{role: 'user', content: 'Once upon a time'}];
const greedy = {model: model.id, messages: ask, temperature: 0, max_tokens: 24};

test('models are listed', async () => {
  const ids = [];
  for await (const entry of client.models.list()) ids.push(entry.id);
  assert.deepEqual(ids, [model.id]);
  assert.equal((await client.models.retrieve(model.id)).id, model.id);
});

test('a chat is answered', async () => {
  const answer = await client.chat.completions.create(greedy);
  assert.equal(answer.object, 'chat.completion');
  assert.equal(answer.choices[0].message.role, 'assistant');
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.ok(['stop', 'length'].includes(answer.choices[0].finish_reason));
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  assert.ok(answer.usage.completion_tokens <= 24);
});

test('a stream has the same text, and the token counts at its end', async () => {
  const whole = await client.chat.completions.create(greedy);
  const stream = await client.chat.completions.create({...greedy, stream: true, stream_options: {include_usage: true}});
  let text = '';
  let usage = null;
  const finishes = [];
  for await (const event of stream) {
    text += event.choices[0]?.delta.content ?? '';
    if (event.choices[0]?.finish_reason) finishes.push(event.choices[0].finish_reason);
    usage = event.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.deepEqual(finishes, [whole.choices[0].finish_reason]);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test('the same seed gives the same answers, others in the batch or not', async () => {
  const request = {...greedy, temperature: 1, seed: 42, n: 3};
  const texts = (answer) => answer.choices.map((c) => c.message.content);
  const alone = texts(await client.chat.completions.create(request));
  const together = await Promise.all([1, 2, 3].map((i) => client.chat.completions.create({...request, seed: i === 2 ? 42 : i})));
  assert.equal(alone.length, 3);
  assert.deepEqual(texts(together[1]), alone);
});

test('chat logprobs: one entry per token, the most likely first', async () => {
  const answer = await client.chat.completions.create({...greedy, max_tokens: 5, logprobs: true, top_logprobs: 3});
  const entries = answer.choices[0].logprobs.content;
  assert.ok(entries.length > 0 && entries.length <= 5);
  for (const entry of entries) {
    assert.ok(entry.logprob <= 0);
    assert.equal(entry.top_logprobs.length, 3);
    assert.equal(entry.top_logprobs[0].logprob, entry.logprob, 'greedy takes the most likely');
    assert.ok(entry.top_logprobs[0].logprob >= entry.top_logprobs[1].logprob);
    assert.ok(Array.isArray(entry.bytes));
  }
});

test('completions take texts and ids, several at once, and n', async () => {
  const ids = (await postJson('/tokenize', {prompt: 'Once upon a time'})).body.tokens;
  const base = {model: model.id, temperature: 0, max_tokens: 8};
  const byText = await client.completions.create({...base, prompt: 'Once upon a time'});
  const byIds = await client.completions.create({...base, prompt: ids});
  assert.equal(byIds.choices[0].text, byText.choices[0].text);
  const several = await client.completions.create({...base, prompt: [ids, ids], n: 2});
  assert.deepEqual(several.choices.map((c) => c.index), [0, 1, 2, 3]);
  for (const choice of several.choices) assert.equal(choice.text, byText.choices[0].text);
});

test('echo scores a prompt, as evaluation harnesses ask for it', async () => {
  const ids = (await postJson('/tokenize', {prompt: 'Once upon a time'})).body.tokens;
  for (const max_tokens of [0, 1]) {
    const answer = await client.completions.create(
      {model: model.id, prompt: [ids], echo: true, max_tokens, logprobs: 1, temperature: 0});
    const {tokens, token_logprobs: scores, top_logprobs: tops, text_offset: offsets} = answer.choices[0].logprobs;
    assert.equal(tokens.length, ids.length + max_tokens);
    for (const list of [scores, tops, offsets]) assert.equal(list.length, tokens.length);
    assert.equal(scores[0], null);
    assert.equal(tops[0], null);
    for (const score of scores.slice(1)) assert.ok(score <= 0 && Number.isFinite(score));
    scores.slice(1).forEach((score, i) => assert.ok(Math.max(...Object.values(tops[i + 1])) >= score));
  }
});

test('stop strings end an answer and are left out of it', async () => {
  const whole = (await client.chat.completions.create(greedy)).choices[0].message.content;
  const stop = whole.slice(5, 8);
  const cut = await client.chat.completions.create({...greedy, stop: [stop]});
  assert.equal(cut.choices[0].message.content, whole.slice(0, whole.indexOf(stop)));
  assert.equal(cut.choices[0].finish_reason, 'stop');
});

test('embeddings have length 1', async () => {
  const answer = await client.embeddings.create({model: model.id, input: ['one', 'two words']});
  assert.equal(answer.data.length, 2);
  for (const {embedding} of answer.data) {
    assert.ok(Math.abs(embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-3);
  }
});

const schema = {
  type: 'object',
  properties: {mood: {enum: ['happy', 'sad']}, age: {type: 'integer', minimum: 1, maximum: 9}, alive: {type: 'boolean'}},
  required: ['mood', 'age', 'alive'],
  additionalProperties: false,
};

test('a JSON schema is kept to', async () => {
  for (const seed of [1, 2, 3]) {
    const answer = await client.chat.completions.create({
      ...greedy, temperature: 1.5, seed, max_tokens: 200,
      response_format: {type: 'json_schema', json_schema: {name: 'person', schema, strict: true}},
    });
    const person = JSON.parse(answer.choices[0].message.content);
    assert.ok(['happy', 'sad'].includes(person.mood));
    assert.ok(Number.isInteger(person.age) && person.age >= 1 && person.age <= 9);
    assert.equal(typeof person.alive, 'boolean');
    assert.deepEqual(Object.keys(person).sort(), ['age', 'alive', 'mood']);
  }
});

test('a regular expression and a choice are kept to', async () => {
  const date = await client.chat.completions.create({...greedy, regex: '[12][0-9]{3}-[01][0-9]'});
  assert.match(date.choices[0].message.content, /^[12][0-9]{3}-[01][0-9]$/);
  const choice = await client.chat.completions.create({...greedy, guided_choice: ['red', 'green']});
  assert.ok(['red', 'green'].includes(choice.choices[0].message.content));
});

const tools = [{
  type: 'function',
  function: {
    name: 'set_light',
    description: 'Switches a light',
    parameters: {type: 'object', properties: {on: {type: 'boolean'}, room: {enum: ['kitchen', 'hall']}},
      required: ['on', 'room'], additionalProperties: false},
  },
}];
const named = {...greedy, max_tokens: 200, tools, tool_choice: {type: 'function', function: {name: 'set_light'}}};

function checkLight(call) {
  assert.equal(call.function.name, 'set_light');
  const light = JSON.parse(call.function.arguments);
  assert.equal(typeof light.on, 'boolean');
  assert.ok(['kitchen', 'hall'].includes(light.room));
}

test('a named tool is called', {skip: !offersTools}, async () => {
  const answer = await client.chat.completions.create(named);
  assert.equal(answer.choices[0].finish_reason, 'tool_calls');
  assert.equal(answer.choices[0].message.tool_calls.length, 1);
  checkLight(answer.choices[0].message.tool_calls[0]);
  const next = await client.chat.completions.create({...greedy, tools, messages: [
    ...ask, answer.choices[0].message, {role: 'tool', tool_call_id: answer.choices[0].message.tool_calls[0].id, content: 'done'}]});
  assert.ok(next.usage.prompt_tokens > answer.usage.prompt_tokens);
});

test('tool calls stream in pieces', {skip: !offersTools}, async () => {
  const final = await client.chat.completions.stream(named).finalChatCompletion();
  assert.equal(final.choices[0].finish_reason, 'tool_calls');
  checkLight(final.choices[0].message.tool_calls[0]);
});

test('tools are refused where the template has none', {skip: offersTools}, async () => {
  await assert.rejects(client.chat.completions.create(named), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, 'tools');
    return true;
  });
});

test('errors have the right class, field and code', async () => {
  const refused = (request, type, check) => assert.rejects(client.chat.completions.create({...greedy, ...request}), (error) => {
    assert.ok(error instanceof type, `${error.constructor.name}: ${error.message}`);
    check(error);
    return true;
  });
  await refused({temperature: -5}, OpenAI.BadRequestError, (e) => {
    assert.equal(e.param, 'temperature');
    assert.match(e.message, /0 to 2/);
  });
  await refused({model: 'gpt-4'}, OpenAI.NotFoundError, (e) => assert.equal(e.code, 'model_not_found'));
  await refused({messages: [{role: 'user', content: 'word '.repeat(model.max_model_len + 10)}]}, OpenAI.BadRequestError, (e) => {
    assert.equal(e.code, 'context_length_exceeded');
    assert.match(e.message, new RegExp(`${model.max_model_len}`));
  });
  await refused({response_format: {type: 'json_schema', json_schema: {name: 'x', schema: {not: {type: 'string'}}}}},
    OpenAI.BadRequestError, (e) => assert.match(e.message, /not/));
  await refused({grammar: 'root ::= ('}, OpenAI.BadRequestError, (e) => assert.equal(e.param, 'grammar'));
});

test('broken JSON is answered with its offset, and unknown parameters are named', async () => {
  const response = await fetch(`${baseUrl}/v1/chat/completions`,
    {method: 'POST', body: '{"messages": oops}', headers: apiKey ? {Authorization: `Bearer ${apiKey}`} : {}});
  assert.equal(response.status, 400);
  assert.match((await response.json()).error.message, /byte 13/);
  const odd = await postJson('/v1/chat/completions', {...greedy, max_tokens: 1, sparkle: 3});
  assert.equal(odd.status, 200);
  assert.equal(odd.headers.get('x-tokenworks-ignored'), 'sparkle');
});

test('an aborted stream frees its place', async () => {
  const control = new AbortController();
  const stream = await client.chat.completions.create(
    {...greedy, stream: true, n: 3, max_tokens: undefined, ignore_eos: true}, {signal: control.signal});
  for await (const event of stream) {
    if (event.choices[0]?.delta.content) break;
  }
  control.abort();
  assert.ok(await eventually(async () => await metric('vllm:num_requests_running') === 0));
  assert.equal(await metric('vllm:num_requests_waiting'), 0);
});

test('many clients with aborts: the rest get what they get alone', async () => {
  const alone = (await client.chat.completions.create(greedy)).choices[0].message.content;
  const one = async (i) => {
    const control = new AbortController();
    if (i % 3 === 0) setTimeout(() => control.abort(), 5 * i);
    try {
      const answer = await client.chat.completions.create(greedy, {signal: control.signal});
      return answer.choices[0].message.content;
    } catch (error) {
      assert.ok(error instanceof OpenAI.APIUserAbortError || error instanceof OpenAI.RateLimitError, error.message);
      return alone;
    }
  };
  const texts = await Promise.all(Array.from({length: 16}, (_, i) => one(i)));
  for (const text of texts) assert.equal(text, alone);
  assert.ok(await eventually(async () => await metric('vllm:num_requests_running') === 0));
});
