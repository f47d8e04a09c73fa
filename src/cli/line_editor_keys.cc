// Where LineEditor's keys come from: standard input, and signals that a key or the terminal made.
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "base/utf8.h"
#include "cli/line_editor_impl.h"

namespace tw::cli {
namespace {

constexpr int kNothing = 2;  // besides the results of read_key

}  // namespace

void LineEditor::Impl::push_keys(const char* bytes) {
  keys = bytes;
  at = 0;
}

/// The next whole character of what was read.
bool LineEditor::Impl::take_key(wchar_t& key) {
  const std::string_view rest = std::string_view(keys).substr(at);
  const bool whole = base::complete_utf8_prefix(rest) > 0;
  if (whole) key = static_cast<wchar_t>(base::decode_utf8(keys, at));
  if (at == keys.size() || !whole) keys.erase(0, std::exchange(at, 0));
  return whole;
}

bool LineEditor::Impl::edits() const {
  int on = 0;
  el_wget(el.get(), EL_EDITMODE, &on);
  return terminal && on != 0;
}

void LineEditor::Impl::write(const char* text) const {
  std::fputs(text, out.get());
  std::fflush(out.get());
}

/// Prompt and line again, where the cursor's row is.
void LineEditor::Impl::redraw() const {
  if (!edits()) return;
  write(escapes ? "\r\x1b[J" : "\r");
  el_wset(el.get(), EL_REFRESH);
}

int LineEditor::Impl::on_signal(wchar_t& key) {
  switch (signals.take()) {
    case SIGINT:
      push_keys("");
      if (edits()) {
        key = kCtrlC;  // the terminal made a signal of this key; its function ends the line in good order
        return 1;
      }
      cancelled = true;
      errno = EINTR;
      return -1;
    case SIGTERM:
    case SIGHUP:
      terminated = true;
      return 0;
    case SIGWINCH:
      el_resize(el.get());
      redraw();
      return kNothing;
    case SIGCONT:  // the shell has had the terminal
      if (!edits()) return kNothing;
      el_wset(el.get(), EL_PREP_TERM, 0);
      el_wset(el.get(), EL_PREP_TERM, 1);
      if (pastes) write("\x1b[?2004h");
      redraw();
      return kNothing;
    default:
      return kNothing;
  }
}

int LineEditor::Impl::read_key(wchar_t& key) {
  for (;;) {
    if (take_key(key)) return 1;
    pollfd files[] = {{signals.fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (::poll(files, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return -1;
    }
    if (files[0].revents != 0) {
      if (const int result = on_signal(key); result != kNothing) return result;
      continue;
    }
    char bytes[4096];
    const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (count == 0) return 0;
    if (count > 0) keys.append(bytes, static_cast<std::size_t>(count));
    if (count < 0 && errno != EINTR && errno != EAGAIN) return -1;
  }
}

}  // namespace tw::cli
