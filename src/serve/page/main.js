// The page: state, keyboard and the conversation. Drawing is in view.js, the server's side in client.js.
import {ApiError, getModel, isReady, streamChat} from './client.js';
import {chatTitle, loadChats, loadSettings, newChat, saveChats, saveSettings} from './store.js';
import {copyText, turn, update} from './view.js';

const $ = (id) => document.getElementById(id);
const state = {chats: loadChats(), chat: newChat(), settings: loadSettings(), model: '', running: null};

// ---- the conversation ----

function nearBottom() {
  const log = $('log');
  return log.scrollHeight - log.scrollTop - log.clientHeight < 60;
}

function scrollDown() {
  $('log').scrollTop = $('log').scrollHeight;
}

function actionsFor(message) {
  if (message !== state.chat.messages.at(-1) || state.running) return [];
  if (message.errorKind === 'key') return [['Open settings', openSettings]];
  if (message.errorKind === 'long') return [['New chat', startNewChat]];
  return [['Try again', retry]];
}

function drawChat() {
  $('log').replaceChildren(...state.chat.messages.map((m) => turn(m, actionsFor(m))));
  $('welcome').hidden = state.chat.messages.length > 0;
  drawList();
  scrollDown();
}

function drawList() {
  $('chat-list').replaceChildren(...state.chats.filter((c) => c.messages.length > 0).map((chat) => {
    const item = document.createElement('li');
    const open = document.createElement('button');
    const remove = document.createElement('button');
    open.type = remove.type = 'button';
    open.className = 'title';
    open.textContent = chatTitle(chat);
    remove.className = 'delete';
    remove.textContent = '×';
    remove.setAttribute('aria-label', `Delete chat: ${chatTitle(chat)}`);
    if (chat === state.chat) {
      item.className = 'current';
      open.setAttribute('aria-current', 'true');
    }
    open.addEventListener('click', () => openChat(chat));
    remove.addEventListener('click', () => deleteChat(chat));
    item.append(open, remove);
    return item;
  }));
}

function say(text) {
  $('status').textContent = text;
}

/** What is sent: the system prompt, then all turns that hold an answer or a question. */
function requestMessages(chat) {
  const system = state.settings.system?.trim();
  const turns = chat.messages.filter((m) => m.content && !m.pending).map(({role, content}) => ({role, content}));
  return system ? [{role: 'system', content: system}, ...turns] : turns;
}

function finishStats(result) {
  const tokens = result.usage?.completion_tokens ?? result.pieces;
  return {
    tokens,
    firstMs: result.firstMs,
    rate: tokens > 1 && result.streamMs > 0 ? (tokens - 1) / (result.streamMs / 1000) : 0,
    note: result.finish === 'length' ? 'cut off at the token limit' : '',
  };
}

async function answer() {
  const chat = state.chat;
  const message = {role: 'assistant', content: '', pending: true};
  const messages = requestMessages(chat);
  chat.messages.push(message);
  const box = turn(message);
  $('log').append(box);
  const control = new AbortController();
  state.running = {control, chat};
  showRunning();
  scrollDown();
  say('The answer is being written');

  let drawn = 0;
  const draw = (now) => {
    drawn = 0;
    const follow = nearBottom();
    update(box, message);
    if (follow) scrollDown();
    return now;
  };
  const onText = (piece, live) => {
    message.content += piece;
    message.stats = {rate: live.streamMs > 300 ? (live.pieces - 1) / (live.streamMs / 1000) : 0, firstMs: live.firstMs};
    drawn ||= setTimeout(draw, 50);
  };
  try {
    const result = await streamChat({model: state.model, messages, settings: state.settings, signal: control.signal, onText});
    message.stats = finishStats(result);
    say(`The answer is complete. ${message.content.slice(0, 2000)}`);
  } catch (error) {
    noteFailure(message, error);
  }
  clearTimeout(drawn);
  delete message.pending;
  state.running = null;
  remember(chat);
  showRunning();
  const follow = nearBottom();
  update(box, message, actionsFor(message));
  if (follow) scrollDown();
}

function noteFailure(message, error) {
  if (error.name === 'AbortError') {
    message.stats = {...message.stats, note: 'stopped'};
    say('Stopped');
    return;
  }
  message.error = error instanceof ApiError ? error.message : `Something went wrong in the page: ${error.message}`;
  message.errorKind = error.kind ?? 'other';
  if (message.errorKind === 'retry') watchServer();
}

function remember(chat) {
  state.chats = [chat, ...state.chats.filter((c) => c !== chat)];
  saveChats(state.chats);
  drawList();
}

function send(text) {
  if (state.running || !text.trim()) return;
  // An answer that never came is not part of the conversation.
  state.chat.messages = state.chat.messages.filter((m) => m.role === 'user' || m.content);
  state.chat.messages.push({role: 'user', content: text.trim()});
  $('input').value = '';
  growInput();
  remember(state.chat);
  drawChat();
  answer();
}

function retry() {
  if (state.running) return;
  if (state.chat.messages.at(-1)?.role === 'assistant') state.chat.messages.pop();
  drawChat();
  answer();
}

function stop() {
  state.running?.control.abort();
}

// ---- chats ----

function openChat(chat) {
  stop();
  state.chat = chat;
  closeSidebar();
  drawChat();
  $('input').focus();
}

function startNewChat() {
  openChat(newChat());
}

function deleteChat(chat) {
  state.chats = state.chats.filter((c) => c !== chat);
  saveChats(state.chats);
  if (chat === state.chat) startNewChat();
  else drawList();
}

function closeSidebar() {
  $('sidebar').classList.remove('open');
  $('shade').hidden = true;
  $('open-sidebar').setAttribute('aria-expanded', 'false');
}

function openSidebar() {
  $('sidebar').classList.add('open');
  $('shade').hidden = false;
  $('open-sidebar').setAttribute('aria-expanded', 'true');
  $('new-chat').focus();
}

// ---- the message box ----

function growInput() {
  const input = $('input');
  input.style.height = 'auto';
  input.style.height = `${input.scrollHeight}px`;
  $('send').disabled = !input.value.trim();
}

function showRunning() {
  $('send').hidden = Boolean(state.running);
  $('stop').hidden = !state.running;
}

// ---- settings ----

const numbers = ['temperature', 'top_p', 'max_tokens'];

function openSettings() {
  for (const name of ['system', 'api_key', ...numbers]) $(name).value = state.settings[name] ?? '';
  $('settings').showModal();
}

function storeSettings() {
  state.settings = {system: $('system').value, api_key: $('api_key').value.trim()};
  for (const name of numbers) {
    const value = $(name).valueAsNumber;
    if (Number.isFinite(value) && $(name).validity.valid) state.settings[name] = value;
  }
  saveSettings(state.settings);
  watchServer();
}

// ---- the server's state ----

let watching = 0;

/** Shows the model's name once the server is ready; until then asks again every two seconds. */
async function watchServer() {
  clearTimeout(watching);
  const show = (name, className, title) => {
    $('model-name').textContent = name;
    $('dot').className = className;
    $('model').title = title;
  };
  try {
    if (!(await isReady())) {
      show('the model is being loaded…', '', 'The server runs, but does not answer requests yet');
      watching = setTimeout(watchServer, 2000);
      return;
    }
    const model = await getModel(state.settings);
    state.model = model.id;
    show(model.id, 'ready', `Answers come from ${model.id}; it can hold ${model.max_model_len} tokens`);
  } catch (error) {
    show(error.kind === 'key' ? 'API key needed' : 'no connection', 'gone', error.message);
    if (error.kind !== 'key') watching = setTimeout(watchServer, 2000);
  }
}

// ---- wiring ----

$('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  send($('input').value);
});
$('input').addEventListener('input', growInput);
$('input').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send($('input').value);
});
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || $('settings').open) return;
  if (state.running) stop();
  closeSidebar();
});
$('stop').addEventListener('click', () => {
  stop();
  $('input').focus();
});
$('log').addEventListener('click', (event) => {
  const copy = event.target.closest('.copy-code');
  if (copy) copyText(copy.closest('.code').querySelector('code').textContent, copy);
});
$('new-chat').addEventListener('click', startNewChat);
$('open-sidebar').addEventListener('click', openSidebar);
$('shade').addEventListener('click', closeSidebar);
$('open-settings').addEventListener('click', openSettings);
$('settings').addEventListener('close', storeSettings);
$('settings').addEventListener('click', (event) => {
  if (event.target === $('settings')) $('settings').close();
});
$('clear-all').addEventListener('click', () => {
  if (!confirm('Delete all chats in this browser?')) return;
  state.chats = [];
  saveChats([]);
  startNewChat();
});
for (const example of $('examples').children) {
  example.addEventListener('click', () => send(example.textContent));
}

drawChat();
growInput();
watchServer();
