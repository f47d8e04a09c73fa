// 64 clients at once with random aborts, for TW_SOAK_SECONDS (60): every completed answer equals the one given alone at
// temperature 0; afterwards nothing runs, no block is held, and memory has not grown.
// Run by `TW_SCRIPT=soak tests/e2e/run.sh BINARY`.
import assert from 'node:assert';

const base = process.env.TW_BASE_URL;
const seconds = Number(process.env.TW_SOAK_SECONDS ?? 60);
const clients = 64;
const prompts = ['Once upon a time', 'Lily', 'The dog ran', 'One day, a big red ball', 'Tom and his mom', 'In the park',
  'She said', 'There was a cat. '.repeat(12)];

async function complete(prompt, stream, signal) {
  const response = await fetch(`${base}/v1/completions`, {
    method: 'POST', signal, headers: {'content-type': 'application/json'},
    body: JSON.stringify({prompt, max_tokens: 48, temperature: 0, stream}),
  });
  if (response.status !== 200) throw new Error(`status ${response.status}: ${await response.text()}`);
  if (!stream) return (await response.json()).choices[0].text;
  let text = '';
  for (const line of (await response.text()).split('\n')) {
    if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
    text += JSON.parse(line.slice(6)).choices[0]?.text ?? '';
  }
  return text;
}

async function metric(name) {
  const text = await (await fetch(`${base}/metrics`)).text();
  const line = text.split('\n').find((l) => l.startsWith(name));
  assert.ok(line, `no metric ${name}`);
  return Number(line.split(' ').at(-1));
}

const alone = [];
for (const prompt of prompts) alone.push(await complete(prompt, false));

const counts = {completed: 0, aborted: 0};
async function client(end, seed) {
  let state = seed;
  const random = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
  while (Date.now() < end) {
    const i = Math.floor(random() * prompts.length);
    const abort = new AbortController();
    const timer = random() < 0.3 ? setTimeout(() => abort.abort(), random() * 400) : undefined;
    try {
      assert.strictEqual(await complete(prompts[i], random() < 0.5, abort.signal), alone[i]);
      ++counts.completed;
    } catch (error) {
      if (!abort.signal.aborted) throw error;
      ++counts.aborted;
    } finally {
      clearTimeout(timer);
    }
  }
}

async function round(length) {
  const end = Date.now() + length * 1000;
  await Promise.all(Array.from({length: clients}, (_, i) => client(end, i + 1)));
}

await round(Math.max(1, seconds / 6));  // warm-up: caches and pools reach their size
const before = await metric('process_resident_memory_bytes');
await round(seconds);
for (let i = 0; i < 100 && await metric('vllm:num_requests_running') > 0; ++i) await new Promise((r) => setTimeout(r, 50));
assert.strictEqual(await metric('vllm:num_requests_running'), 0);
assert.strictEqual(await metric('vllm:num_requests_waiting'), 0);
assert.strictEqual(await metric('vllm:kv_cache_usage_perc'), 0);
const growth = (await metric('process_resident_memory_bytes')) - before;
console.log(`${counts.completed} answers, ${counts.aborted} aborted, memory grew by ${(growth / 1e6).toFixed(1)} MB`);
assert.ok(counts.completed > clients && counts.aborted > 0, 'too little was done');
assert.ok(growth < 32e6, 'memory grows');
