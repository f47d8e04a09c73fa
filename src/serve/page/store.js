// What the page remembers, in this browser's localStorage: chats and settings. Storage may be full or forbidden;
// the page then works on without it.

const kChats = 'tokenworks.chats';
const kSettings = 'tokenworks.settings';
const kMaxChats = 50;

function read(key, fallback) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? fallback;
  } catch {
    return fallback;
  }
}

function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

const isChat = (chat) => chat && typeof chat.id === 'string' && Array.isArray(chat.messages) &&
  chat.messages.every((m) => m && typeof m.role === 'string' && typeof m.content === 'string');

/** Newest first. */
export function loadChats() {
  const chats = read(kChats, []);
  return Array.isArray(chats) ? chats.filter(isChat) : [];
}

/** Saves the newest chats; when the storage is full, fewer of them. */
export function saveChats(chats) {
  const kept = chats.filter((c) => c.messages.length > 0).slice(0, kMaxChats);
  while (!write(kChats, kept) && kept.length > 1) kept.pop();
}

export function newChat() {
  return {id: `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`, messages: []};
}

export function chatTitle(chat) {
  const first = chat.messages.find((m) => m.role === 'user')?.content.trim() ?? '';
  return first.split('\n')[0].slice(0, 80) || 'New chat';
}

export function loadSettings() {
  const saved = read(kSettings, {});
  return typeof saved === 'object' && !Array.isArray(saved) ? saved : {};
}

export function saveSettings(settings) {
  write(kSettings, settings);
}
