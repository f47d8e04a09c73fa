// A small, safe Markdown: the text is escaped before anything else is looked at, so the only tags in the result are
// those written here. It knows headings, lists, quotes, rules, code, bold, italics and http(s) links.

const entities = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;'};

export function escapeHtml(text) {
  return text.replace(/[&<>"']/g, (c) => entities[c]);
}

/** Inline marks of one escaped piece of text. Code spans are taken out first, so that nothing in them is a mark. */
function inline(escaped) {
  const spans = [];
  const keep = (html) => `\u0000${spans.push(html) - 1}\u0000`;
  return escaped
    .replaceAll('\u0000', '')
    .replace(/(`+)(.+?)\1(?!`)/g, (_, ticks, code) => keep(`<code>${code.trim()}</code>`))
    .replace(/\[([^\[\]]{1,300})\]\((https?:\/\/[^\s()]{1,1000})\)/g,
      (_, label, url) => `${keep(`<a href="${url}" target="_blank" rel="noopener noreferrer">`)}${label}</a>`)
    .replace(/\*\*([^*\n]+(?:\*[^*\n]+)*)\*\*/g, '<strong>$1</strong>')
    .replace(/(^|[^\w*])\*([^*\s](?:[^*\n]*[^*\s])?)\*(?![\w*])/g, '$1<em>$2</em>')
    .replace(/(^|[^\w])_([^_\s](?:[^_\n]*[^_\s])?)_(?!\w)/g, '$1<em>$2</em>')
    .replace(/\u0000(\d+)\u0000/g, (_, i) => spans[Number(i)]);
}

function codeBlock(language, lines) {
  const name = escapeHtml(language || 'text');
  return `<div class="code"><div class="bar"><span>${name}</span><button type="button" class="copy-code">Copy</button></div>` +
    `<pre tabindex="0"><code>${escapeHtml(lines.join('\n'))}</code></pre></div>`;
}

const listItem = /^(\s*)(?:([-*+])|(\d{1,9})[.)])\s+(.*)$/;

/** The list that starts at lines[at]; deeper indentation makes a list inside. At most 8 levels. */
function list(lines, at, level = 0) {
  const first = listItem.exec(lines[at]);
  const indent = first[1].length;
  const tag = first[2] ? 'ul' : 'ol';
  const start = tag === 'ol' && first[3] !== '1' ? ` start="${Number(first[3])}"` : '';
  let html = `<${tag}${start}>`;
  while (at < lines.length) {
    const item = listItem.exec(lines[at]);
    if (!item || item[1].length < indent || Boolean(item[2]) !== (tag === 'ul')) break;
    html += `<li>${inline(escapeHtml(item[4]))}`;
    at += 1;
    while (at < lines.length) {
      const inner = listItem.exec(lines[at]);
      if (inner && inner[1].length > indent && level < 8) {
        const nested = list(lines, at, level + 1);
        html += nested.html;
        at = nested.next;
      } else if (!inner && /^\s{2,}\S/.test(lines[at])) {
        html += ` ${inline(escapeHtml(lines[at].trim()))}`;
        at += 1;
      } else {
        break;
      }
    }
    html += '</li>';
    while (at + 1 < lines.length && lines[at].trim() === '' && listItem.test(lines[at + 1])) at += 1;
  }
  return {html: `${html}</${tag}>`, next: at};
}

const startsBlock = (line) => /^\s*(```|~~~)/.test(line) || /^#{1,6}\s/.test(line) || /^>\s?/.test(line) ||
  listItem.test(line) || /^(?:-{3,}|\*{3,})\s*$/.test(line);

/** Markdown text to HTML. An unfinished code block (a stream in progress) is shown as a block. */
export function renderMarkdown(text) {
  const lines = text.replace(/\r\n?/g, '\n').split('\n');
  let html = '';
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const fence = /^\s*(```+|~~~+)\s*([\w+#.-]*)/.exec(line);
    if (fence) {
      const body = [];
      for (at += 1; at < lines.length && !lines[at].trim().startsWith(fence[1]); at += 1) body.push(lines[at]);
      html += codeBlock(fence[2], body);
      at += 1;
    } else if (/^#{1,6}\s/.test(line)) {
      const depth = Math.min(5, Math.max(3, /^#+/.exec(line)[0].length + 1));
      html += `<h${depth}>${inline(escapeHtml(line.replace(/^#+\s+/, '').replace(/\s+#+\s*$/, '')))}</h${depth}>`;
      at += 1;
    } else if (/^(?:-{3,}|\*{3,})\s*$/.test(line)) {
      html += '<hr>';
      at += 1;
    } else if (/^>\s?/.test(line)) {
      const quoted = [];
      for (; at < lines.length && /^>\s?/.test(lines[at]); at += 1) quoted.push(lines[at].replace(/^>\s?/, ''));
      html += `<blockquote><p>${inline(escapeHtml(quoted.join('\n'))).replaceAll('\n', '<br>')}</p></blockquote>`;
    } else if (listItem.test(line)) {
      const made = list(lines, at);
      html += made.html;
      at = made.next;
    } else if (line.trim() === '') {
      at += 1;
    } else {
      const paragraph = [line];
      for (at += 1; at < lines.length && lines[at].trim() !== '' && !startsBlock(lines[at]); at += 1) paragraph.push(lines[at]);
      html += `<p>${inline(escapeHtml(paragraph.join('\n'))).replaceAll('\n', '<br>')}</p>`;
    }
  }
  return html;
}
