// Which server the tests talk to: TW_BASE_URL (http://127.0.0.1:8080), TW_API_KEY, TW_TOOLS=1 when its chat template
// offers tools.

export const baseUrl = (process.env.TW_BASE_URL ?? 'http://127.0.0.1:8080').replace(/\/$/, '');
export const apiKey = process.env.TW_API_KEY ?? '';
export const offersTools = process.env.TW_TOOLS === '1';

const headers = apiKey ? {Authorization: `Bearer ${apiKey}`} : {};

export async function getJson(path) {
  const response = await fetch(baseUrl + path, {headers});
  return response.json();
}

export async function postJson(path, body) {
  const response = await fetch(baseUrl + path,
    {method: 'POST', headers: {...headers, 'Content-Type': 'application/json'}, body: JSON.stringify(body)});
  return {status: response.status, headers: response.headers, body: await response.json()};
}

/** The model's entry in /v1/models. */
export const model = (await getJson('/v1/models')).data[0];

/** The value of the first sample of this name in /metrics. */
export async function metric(name) {
  const text = await (await fetch(`${baseUrl}/metrics`, {headers})).text();
  const line = text.split('\n').find((l) => l.startsWith(`${name}{`) || l.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ') + 1));
}

/** Waits until condition() holds, at most so long. */
export async function eventually(condition, milliseconds = 10_000) {
  const end = Date.now() + milliseconds;
  while (Date.now() < end) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}
