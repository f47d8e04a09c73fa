// Draws a conversation: one element per turn, the last one redrawn while its answer streams.
import {renderMarkdown} from './markdown.js';

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function button(label, onClick) {
  const made = element('button', '', label);
  made.type = 'button';
  made.addEventListener('click', onClick);
  return made;
}

/** "42.1 tokens/s · first token after 180 ms · 123 tokens" */
export function statsText(stats) {
  const parts = [];
  if (stats.rate > 0) parts.push(`${stats.rate < 10 ? stats.rate.toFixed(1) : Math.round(stats.rate)} tokens/s`);
  if (stats.firstMs > 0) parts.push(`first token after ${stats.firstMs < 950 ? `${Math.round(stats.firstMs)} ms` : `${(stats.firstMs / 1000).toFixed(1)} s`}`);
  if (stats.tokens > 0) parts.push(`${stats.tokens} ${stats.tokens === 1 ? 'token' : 'tokens'}`);
  if (stats.note) parts.push(stats.note);
  return parts.join(' · ');
}

export async function copyText(text, source) {
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages served over plain http from another machine have no clipboard interface: select and copy the old way.
    const area = element('textarea', 'hidden');
    area.value = text;
    document.body.append(area);
    area.select();
    copied = document.execCommand('copy');
    area.remove();
  }
  const label = source.textContent;
  source.textContent = copied ? 'Copied' : 'Not allowed';
  setTimeout(() => { source.textContent = label; }, 1500);
}

/** One turn. `actions` are [label, function] pairs shown under a finished answer. */
export function turn(message, actions = []) {
  const box = element('article', `turn ${message.role}`);
  box.setAttribute('aria-label', message.role === 'user' ? 'You' : 'Answer');
  const body = element('div', 'body');
  const text = element('div', 'text');
  body.append(text);
  if (message.role === 'user') {
    text.textContent = message.content;
    box.append(text);
    return box;
  }
  box.append(body);
  update(box, message, actions);
  return box;
}

/** Redraws an answer's text, its line of numbers and its error. */
export function update(box, message, actions = []) {
  const body = box.querySelector('.body');
  const text = box.querySelector('.text');
  if (message.content) {
    text.innerHTML = renderMarkdown(message.content);
  } else {
    text.replaceChildren();
    if (message.pending) {
      const dots = element('span', 'waiting');
      dots.append(element('i'), element('i'), element('i'));
      text.append(dots);
    }
  }
  body.querySelectorAll(':scope > .meta, :scope > .problem').forEach((old) => old.remove());
  if (message.error) body.append(problem(message, actions));
  if (message.content || message.stats?.note) {
    const meta = element('div', 'meta');
    if (!message.pending && message.content) meta.append(button('Copy', (e) => copyText(message.content, e.currentTarget)));
    if (!message.pending && !message.error) for (const [label, run] of actions) meta.append(button(label, run));
    meta.append(element('span', 'stats', statsText(message.stats ?? {})));
    body.append(meta);
  }
}

function problem(message, actions) {
  const box = element('div', 'problem', message.error);
  box.setAttribute('role', 'alert');
  for (const [label, run] of actions) box.append(button(label, run));
  return box;
}
