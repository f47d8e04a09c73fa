// The page's side of the API: the model's name, the server's state, and one streamed answer.

/** An error whose message can be shown as it is. `kind` lets the page offer a way on: key, retry, long, or other. */
export class ApiError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

function headers(settings) {
  const result = {'Content-Type': 'application/json'};
  if (settings.api_key) result.Authorization = `Bearer ${settings.api_key}`;
  return result;
}

async function describe(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // Not our JSON (a proxy's page, say): the status alone has to do.
  }
  const text = error.message ?? `The server answered with status ${response.status}.`;
  const wait = response.headers.get('Retry-After');
  const when = wait ? ` Try again in ${wait} s.` : ' Try again in a moment.';
  if (response.status === 401) return new ApiError('key', 'This server asks for an API key. Enter it in the settings.');
  if (response.status === 429) return new ApiError('retry', `The server is busy: its queue is full.${when}`);
  if (response.status === 503) return new ApiError('retry', `The server cannot answer now: ${text}${when}`);
  if (error.code === 'context_length_exceeded') {
    return new ApiError('long', `This chat has become too long for the model. ${text}`);
  }
  return new ApiError('other', text);
}

async function call(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('retry', 'The server does not answer. Is it still running?');
  }
}

/** {id, max_model_len} of the model that is served. */
export async function getModel(settings) {
  const response = await call('v1/models', {headers: headers(settings)});
  if (!response.ok) throw await describe(response);
  return (await response.json()).data[0];
}

export async function isReady() {
  const response = await call('v1/health/ready');
  return response.ok;
}

/** Splits a stream of bytes into the data of server-sent events. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    rest += value;
    let end;
    while ((end = rest.indexOf('\n\n')) >= 0) {
      const data = rest.slice(0, end).split('\n').filter((l) => l.startsWith('data:')).map((l) => l.slice(5).trimStart());
      rest = rest.slice(end + 2);
      if (data.length > 0) yield data.join('\n');
    }
  }
}

function requestBody(model, messages, settings) {
  const body = {model, messages, stream: true, stream_options: {include_usage: true}};
  for (const name of ['temperature', 'top_p', 'max_tokens']) {
    if (typeof settings[name] === 'number') body[name] = settings[name];
  }
  return JSON.stringify(body);
}

/**
 * Streams one answer. onText(piece) is called for each piece; returns {finish, usage, firstMs, streamMs, pieces}.
 * Throws ApiError, or AbortError when `signal` fires.
 */
export async function streamChat({model, messages, settings, signal, onText}) {
  const sent = performance.now();
  let first = 0;
  let last = 0;
  const result = {finish: '', usage: null, pieces: 0, firstMs: 0, streamMs: 0};
  const response = await call('v1/chat/completions',
    {method: 'POST', headers: headers(settings), body: requestBody(model, messages, settings), signal});
  if (!response.ok) throw await describe(response);
  let complete = false;
  try {
    for await (const data of events(response.body)) {
      if (data === '[DONE]') {
        complete = true;
        break;
      }
      const event = JSON.parse(data);
      if (event.error) throw new ApiError('other', event.error.message);
      if (event.usage) result.usage = event.usage;
      const choice = event.choices?.[0];
      if (choice?.finish_reason) result.finish = choice.finish_reason;
      if (choice?.delta?.content) {
        last = performance.now();
        first ||= last;
        result.pieces += 1;
        onText(choice.delta.content, {firstMs: first - sent, streamMs: last - first, pieces: result.pieces});
      }
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error;
    throw new ApiError('retry', 'The connection to the server broke off.');
  }
  if (!complete) throw new ApiError('retry', 'The connection to the server broke off.');
  result.firstMs = first ? first - sent : 0;
  result.streamMs = last - first;
  return result;
}
