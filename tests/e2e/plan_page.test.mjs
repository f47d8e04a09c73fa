// The pages of `plan --html` in headless Chromium. TW_PROGRAM is the program; others than tokenworks write no such pages.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {after, before, test} from 'node:test';

import {launch} from './browser.mjs';

const program = process.env.TW_PROGRAM ?? '';
const skip = program.endsWith('tokenworks') ? false : 'this program has no plan';
let browser;
let folder;

before(async () => {
  if (skip) return;
  browser = await launch();
  folder = mkdtempSync(join(tmpdir(), 'plan-page-'));
});
after(async () => {
  await browser?.close();
  if (folder) rmSync(folder, {recursive: true});
});

const job = ['--accelerator', 'H100', '--accelerators', '64', '--tokens', '2T', '--batch', '1024'];

function written(...flags) {
  const file = join(folder, 'page.html');
  execFileSync(program, ['plan', ...flags, '--html', file], {stdio: 'pipe'});
  return file;
}

/** Looks at a page in light and dark, on a phone and on a desk; nothing may fail, be fetched or stick out. */
async function onPage(file, body) {
  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of [{width: 360, height: 740}, {width: 1280, height: 900}]) {
      const context = await browser.newContext({colorScheme, viewport});
      const page = await context.newPage();
      const faults = [];
      page.on('pageerror', (error) => faults.push(error.message));
      page.on('console', (m) => { if (m.type() === 'error') faults.push(m.text()); });
      page.on('dialog', (dialog) => { faults.push('a dialog'); dialog.dismiss(); });
      page.on('request', (r) => { if (r.url() !== `file://${file}`) faults.push(`request to ${r.url()}`); });
      await page.goto(`file://${file}`);
      await body(page);
      const sizes = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
      assert.ok(sizes[0] <= sizes[1], `${sizes[0]} pixels on ${sizes[1]}`);
      const [text, back] = await page.evaluate(() => {
        const light = (color) => color.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3;
        const style = getComputedStyle(document.body);
        return [light(style.color), light(style.backgroundColor)];
      });
      assert.ok(colorScheme === 'light' ? back - text > 150 : text - back > 150, `${text} on ${back}`);
      const name = process.env.TW_SHOTS && `${process.env.TW_SHOTS}/${colorScheme}-${viewport.width}.png`;
      if (name) await page.screenshot({path: name, fullPage: true});
      await context.close();
      assert.deepEqual(faults, []);
    }
  }
}

test('an estimate has figures, bars, a timeline and what the days hang on', {skip}, async () => {
  const file = written('estimate', 'llama-2-7b', ...job, '--tp', '2', '--pp', '4', '--zero', '1', '--recompute', 'full',
    '--rent', '2.5 USD/h');
  const {figures} = JSON.parse(execFileSync(program, ['plan', 'estimate', 'llama-2-7b', ...job, '--tp', '2', '--pp', '4',
    '--zero', '1', '--recompute', 'full', '--rent', '2.5 USD/h', '--json'], {encoding: 'utf8'}));
  await onPage(file, async (page) => {
    assert.match(await page.title(), /llama-2-7b on 64 x H100 SXM/);
    const days = await page.locator('td', {hasText: /^wall-clock days$/}).locator('xpath=following-sibling::td[1]').innerText();
    assert.match(days, / days$/);
    assert.ok(Math.abs(parseFloat(days) / figures.days.value - 1) < 0.01);
    // As many boxes forward as backward, and four stages.
    assert.equal(await page.locator('svg[aria-label=timeline] text', {hasText: /^stage \d$/}).count(), 4);
    const forward = await page.locator('svg[aria-label=timeline] rect.k0').count();
    assert.ok(forward >= 32);
    assert.equal(await page.locator('svg[aria-label=timeline] rect.k1').count(), forward);
    assert.ok(await page.locator('h2', {hasText: 'What the days hang on'}).isVisible());
    // The parts of the step's bar fill it.
    const widths = await page.locator('.bar').first().locator('span').evaluateAll((spans) => spans.map((s) => s.getBoundingClientRect().width));
    const whole = await page.locator('.bar').first().evaluate((bar) => bar.getBoundingClientRect().width);
    assert.ok(Math.abs(widths.reduce((sum, width) => sum + width, 0) / whole - 1) < 0.02);
  });
});

test('a search has the front and the best plans', {skip}, async () => {
  const file = written('search', 'llama-2-7b', ...job, '--top', '3');
  await onPage(file, async (page) => {
    assert.ok(await page.locator('svg circle').count() > 2);
    assert.match(await page.locator('svg circle title').first().textContent(), /dp .*: .* s, .* GB/);
    assert.equal(await page.locator('table').first().locator('tr').count(), 4);
  });
});

test('a network has its tiers', {skip}, async () => {
  const file = written('network', '--topology', 'rail', '--nodes', '128', '--switch', 'QM9700', '--nic', '400 Gb/s');
  await onPage(file, async (page) => {
    assert.equal(await page.locator('td', {hasText: /^leaf$/}).locator('xpath=following-sibling::td[1]').innerText(), '32');
  });
});

test('names are text, whatever they say', {skip}, async () => {
  const evil = '<img src=x onerror=alert(1)><script>alert(2)<\/script>"\'&';
  const config = JSON.parse(readFileSync(new URL('../golden/families/llama3/config.json', import.meta.url)));
  const file = join(folder, `${evil.replaceAll('/', '')}.json`);
  writeFileSync(file, JSON.stringify(config));
  const page_file = written('estimate', file, '--accelerator', 'H100', '--accelerators', '1', '--steps', '10', '--batch', '8',
    '--sequence', '128', '--stack', 'Megatron-Bridge');
  assert.ok(!readFileSync(page_file, 'utf8').includes('<img'));
  await onPage(page_file, async (page) => {
    assert.match(await page.title(), /<img src=x onerror=alert\(1\)><script>/);
  });
});
