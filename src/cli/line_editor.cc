#include "cli/line_editor.h"

#include <unistd.h>

#include <algorithm>
#include <clocale>

#include "base/utf8.h"
#include "cli/line_editor_impl.h"
#include "cli/terminal.h"

namespace tw::cli {
namespace {

constexpr std::size_t kMaxHistory = 1000;

/// A prompt that ends in a blank. \1 encloses what takes no place on the screen; libedit writes that together
/// with the character after it, so there must be one.
std::string bold(const std::string& prompt) {
  return "\1\x1b[1m\1" + prompt.substr(0, prompt.size() - 1) + "\1\x1b[0m\1 ";
}

}  // namespace

std::wstring widen(std::string_view text) {
  std::wstring wide;
  for (std::size_t at = 0; at < text.size();) wide += static_cast<wchar_t>(base::decode_utf8(text, at));
  return wide;
}

std::string narrow(std::wstring_view wide) {
  std::string text;
  for (const wchar_t c : wide) base::append_utf8(text, static_cast<char32_t>(c));
  return text;
}

LineEditor::Impl& LineEditor::Impl::of(EditLine* el) {
  void* data = nullptr;
  el_wget(el, EL_CLIENTDATA, &data);
  return *static_cast<Impl*>(data);
}

base::Status LineEditor::Impl::open() {
  std::setlocale(LC_CTYPE, "C.UTF-8");  // libedit asks it how to write a character and how wide it is
  const int fd = ::isatty(STDERR_FILENO) == 1 ? STDERR_FILENO : STDOUT_FILENO;
  terminal = ::isatty(fd) == 1;
  escapes = pastes = takes_escapes(fd);
  const int copy = ::dup(fd);  // a stream of our own: standard error has no buffer, and would flicker
  if (copy >= 0) out.reset(::fdopen(copy, "w"));
  searched.reset(history_winit());
  if (out != nullptr) {
    el.reset(el_init_fd("tokenworks", stdin, out.get(), out.get(), STDIN_FILENO, copy, copy));
  }
  if (el == nullptr || searched == nullptr) {
    return base::Error{base::Code::kIo, "cannot set up the terminal: out of memory or file descriptors?", {}};
  }
  HistEventW event;
  history_w(searched.get(), &event, H_SETSIZE, static_cast<int>(kMaxHistory));
  EditLine* e = el.get();
  el_wset(e, EL_CLIENTDATA, this);
  using ReadKey = int (*)(EditLine*, wchar_t*);
  using Prompt = wchar_t* (*)(EditLine*);
  const ReadKey read = [](EditLine* editor, wchar_t* key) { return of(editor).read_key(*key); };
  const Prompt show = [](EditLine* editor) { return of(editor).prompt.data(); };
  el_wset(e, EL_GETCFN, read);
  el_wset(e, EL_PROMPT_ESC, show, L'\1');
  el_wset(e, EL_HIST, history_w, searched.get());
  el_wset(e, EL_EDITOR, L"emacs");
  el_source(e, nullptr);  // the user's .editrc, as in every program with libedit
  bind_keys();
  return base::Ok{};
}

base::Result<std::unique_ptr<LineEditor>> LineEditor::open(SignalPipe& signals,
                                                           std::vector<std::string> commands) {
  auto impl = std::make_unique<Impl>(signals, std::move(commands));
  TW_RETURN_IF_ERROR(impl->open());
  return std::unique_ptr<LineEditor>(new LineEditor(std::move(impl)));
}

LineEditor::LineEditor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LineEditor::~LineEditor() = default;

LineEditor::Line LineEditor::read(const std::string& prompt) {
  Impl& s = *impl_;
  s.prompt = widen(s.escapes ? bold(prompt) : prompt);
  s.cancelled = s.terminated = false;
  s.shown = 0;
  // Before the prompt, not after it as libedit does: keys that are typed in between would be the terminal's.
  if (s.edits()) el_wset(s.el.get(), EL_PREP_TERM, 1);
  if (s.pastes) s.write("\x1b[?2004h");
  int count = 0;
  const wchar_t* read = el_wgets(s.el.get(), &count);
  if (s.pastes) s.write("\x1b[?2004l");
  std::wstring_view text = read == nullptr ? L"" : std::wstring_view(read, static_cast<std::size_t>(count));
  if (text.ends_with(L'\n')) text.remove_suffix(1);
  if (s.cancelled && text.ends_with(Impl::kCancelMark)) text.remove_suffix(Impl::kCancelMark.size());
  const End end = s.terminated  ? End::kTerminated
                  : s.cancelled ? End::kCancelled
                  : read        ? End::kLine
                                : End::kEof;
  return {end, narrow(text)};
}

void LineEditor::add_history(const std::string& entry) {
  HistEventW event;
  impl_->history.push_front(widen(entry));
  if (impl_->history.size() > kMaxHistory) impl_->history.pop_back();
  history_w(impl_->searched.get(), &event, H_ENTER, impl_->history.front().c_str());
}

}  // namespace tw::cli
