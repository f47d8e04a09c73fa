// The built-in page in headless Chromium. TW_CHROMIUM names the browser (default /usr/bin/chromium).
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';

import {launch} from './browser.mjs';
import {apiKey, baseUrl, eventually, metric, model} from './server.mjs';

let browser;

before(async () => {
  browser = await launch();
});
after(async () => browser?.close());

/** Runs `body` on a fresh page; fails on script errors, policy violations and requests to other places. */
async function onPage(body, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (m) => { if (m.type() === 'error' && !/Failed to load resource/.test(m.text())) faults.push(m.text()); });
  page.on('request', (r) => { if (!r.url().startsWith(`${baseUrl}/`)) faults.push(`request to ${r.url()}`); });
  if (apiKey) {
    await page.addInitScript((key) => localStorage.setItem('tokenworks.settings', JSON.stringify({api_key: key})), apiKey);
  }
  try {
    await page.goto(`${baseUrl}/`);
    await page.waitForSelector('#dot.ready');
    await body(page);
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
  }
}

/** Lets the page's requests be answered by the test: {status, headers, text} of a stream with this content. */
async function answerWith(page, content) {
  const event = (delta, finish) => `data: ${JSON.stringify({choices: [{index: 0, delta, finish_reason: finish}]})}\n\n`;
  await page.route('**/v1/chat/completions', (route) => route.fulfill({
    status: 200,
    contentType: 'text/event-stream',
    body: `${event({content}, null)}${event({}, 'stop')}data: [DONE]\n\n`,
  }));
}

async function send(page, text) {
  await page.fill('#input', text);
  await page.press('#input', 'Enter');
}

const lastAnswer = (page) => page.locator('.turn.assistant').last();
const finished = (page) => page.waitForSelector('.turn.assistant:last-child .meta button', {timeout: 60_000});

test('a question is answered, with tokens per second', async () => {
  await onPage(async (page) => {
    assert.equal(await page.textContent('#model-name'), model.id);
    await page.click('#open-settings');
    await page.fill('#max_tokens', '20');
    await page.keyboard.press('Escape');
    await send(page, 'Once upon a time');
    await finished(page);
    assert.ok((await lastAnswer(page).locator('.text').innerText()).length > 0);
    assert.match(await lastAnswer(page).locator('.stats').innerText(), /tokens\/s · first token after .* · \d+ tokens?/);
    assert.match(await page.textContent('#status'), /complete/);
    assert.equal(await page.inputValue('#input'), '');
  });
});

test('the conversation goes along, and survives a reload', async () => {
  await onPage(async (page) => {
    await answerWith(page, 'First **answer**');
    await send(page, 'One');
    await finished(page);
    const second = page.waitForRequest('**/v1/chat/completions');
    await send(page, 'Two');
    const body = (await second).postDataJSON();
    assert.deepEqual(body.messages.map((m) => [m.role, m.content]), [['user', 'One'], ['assistant', 'First **answer**'], ['user', 'Two']]);
    assert.equal(body.stream, true);
    await page.waitForFunction(() => document.querySelectorAll('.turn.assistant .meta').length === 2);
    await page.reload();
    await page.click('#chat-list .title');
    assert.equal(await page.locator('.turn').count(), 4);
    await page.click('#new-chat');
    assert.equal(await page.locator('.turn').count(), 0);
    assert.equal(await page.locator('#chat-list li').count(), 1);
    await page.hover('#chat-list li');
    await page.click('#chat-list .delete');
    assert.equal(await page.locator('#chat-list li').count(), 0);
  });
});

test('settings are sent and kept', async () => {
  await onPage(async (page) => {
    await answerWith(page, 'ok');
    await page.click('#open-settings');
    await page.fill('#system', 'Be brief');
    await page.fill('#temperature', '0.3');
    await page.fill('#top_p', '0.8');
    await page.click('#save');
    await page.reload();
    const request = page.waitForRequest('**/v1/chat/completions');
    await send(page, 'Hi');
    const body = (await request).postDataJSON();
    assert.equal(body.temperature, 0.3);
    assert.equal(body.top_p, 0.8);
    assert.equal(body.max_tokens, undefined);
    assert.deepEqual(body.messages[0], {role: 'system', content: 'Be brief'});
  });
});

test('Esc stops an answer, and its place in the engine is free again', async () => {
  await onPage(async (page) => {
    // A long answer, whatever the model likes to say.
    await page.route('**/v1/chat/completions', (route) => route.continue({
      postData: JSON.stringify({...route.request().postDataJSON(), ignore_eos: true, n: 3, max_tokens: undefined}),
    }));
    await send(page, 'Once upon a time');
    await page.waitForFunction(() => document.querySelector('.turn.assistant .text')?.textContent.length > 0);
    await page.keyboard.press('Escape');
    await finished(page);
    assert.match(await lastAnswer(page).locator('.stats').innerText(), /stopped|cut off|tokens/);
    assert.ok(await page.isHidden('#stop'));
    assert.ok(await eventually(async () => await metric('vllm:num_requests_running') === 0));
  });
});

test('Shift+Enter starts a line and Enter sends', async () => {
  await onPage(async (page) => {
    await answerWith(page, 'ok');
    await page.focus('#input');
    await page.keyboard.type('a');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('b');
    assert.equal(await page.inputValue('#input'), 'a\nb');
    await page.keyboard.press('Enter');
    assert.equal(await page.locator('.turn.user .text').innerText(), 'a\nb');
  });
});

test('Markdown is shown, and nothing in it runs', async () => {
  const content = '# Title\n\nA **bold** and *soft* `co<de>` [link](https://example.org/?a="b") <img src=x onerror="document.title=1">\n\n' +
    '- one\n- two\n  1. inner\n\n```js\nif (a < b && c) { "<script>" }\n```\n\n[bad](javascript:alert(1)) <script>document.title=2</script>';
  await onPage(async (page) => {
    await answerWith(page, content);
    await send(page, 'show');
    await finished(page);
    const text = lastAnswer(page).locator('.text');
    assert.equal(await text.locator('strong').innerText(), 'bold');
    assert.equal(await text.locator('em').innerText(), 'soft');
    assert.equal(await text.locator('p code').first().innerText(), 'co<de>');
    assert.equal(await text.locator('li').count(), 3);
    assert.equal(await text.locator('pre code').innerText(), 'if (a < b && c) { "<script>" }');
    assert.equal(await text.locator('script, img').count(), 0);
    assert.deepEqual(await text.locator('a').evaluateAll((all) => all.map((a) => a.protocol)), ['https:']);
    assert.equal(await page.title(), 'Tokenworks');
  });
});

test('errors are shown in plain words', async () => {
  const cases = [
    [429, {'Retry-After': '7'}, {message: 'the queue is full'}, /busy.*7 s/],
    [400, {}, {message: 'the prompt has 900 tokens', code: 'context_length_exceeded'}, /too long.*900 tokens/],
    [503, {'Retry-After': '1'}, {message: 'the server is shutting down'}, /shutting down/],
    [401, {}, {message: 'no'}, /API key/],
    [400, {}, {message: 'temperature must be a number from 0 to 2'}, /temperature must be/],
  ];
  await onPage(async (page) => {
    for (const [status, headers, error, expected] of cases) {
      await page.route('**/v1/chat/completions', (route) => route.fulfill({status, headers, json: {error}}));
      await send(page, 'Hi');
      await page.waitForFunction((source) => new RegExp(source).test(document.querySelector('.turn:last-child .problem')?.textContent ?? ''),
        expected.source);
      await page.unroute('**/v1/chat/completions');
    }
    await page.route('**/v1/chat/completions', (route) => route.abort());
    await send(page, 'Hi');
    await page.waitForFunction(() => /does not answer/.test(document.querySelector('.turn:last-child .problem')?.textContent ?? ''));
    await page.unroute('**/v1/chat/completions');
    await answerWith(page, 'back again');
    await page.click('.turn:last-child .problem button');
    await finished(page);
    assert.equal(await lastAnswer(page).locator('.text').innerText(), 'back again');
  });
});

for (const colorScheme of ['light', 'dark']) {
  test(`fits a phone, ${colorScheme}`, async () => {
    await onPage(async (page) => {
      await answerWith(page, `A long line: ${'word'.repeat(80)}\n\n\`\`\`\n${'code '.repeat(60)}\n\`\`\``);
      await send(page, 'show');
      await finished(page);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
      assert.equal(background[0] > 128, colorScheme === 'light');
      await page.click('#open-sidebar');
      await page.waitForSelector('#sidebar.open');
      await page.click('#new-chat');
      assert.equal(await page.locator('.turn').count(), 0);
    }, {viewport: {width: 360, height: 740}, colorScheme});
  });
}

test('every control has a name, and the keyboard reaches it visibly', async () => {
  await onPage(async (page) => {
    const nameless = await page.locator('button, input, textarea').evaluateAll((all) => all
      .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).map((e) => e.id));
    assert.deepEqual(nameless, []);
    await page.focus('#input');
    await page.keyboard.press('Shift+Tab');
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, 'solid');
  });
});
