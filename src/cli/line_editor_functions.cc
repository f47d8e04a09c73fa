// What LineEditor's keys do beyond libedit's own functions.
#include <algorithm>

#include "cli/line_editor_impl.h"

namespace tw::cli {
namespace {

constexpr std::size_t kMaxPaste = std::size_t{4} << 20;  // characters: more than any context holds
constexpr std::wstring_view kPasteEnd = L"\x1b[201~";
// libedit 3.1 keeps only so much of the line that was typed when a search shows another.
constexpr std::size_t kMaxSearching = 1000;
constexpr wchar_t kSearchKey[] = L"\x1b\x12";  // ESC, Ctrl-R

bool is_break(wchar_t c) {
  return c == L'\r' || c == L'\n';
}

/// A paste's line breaks do not send the message, and its control characters do nothing. libedit has the
/// terminal swap CR and LF, so a pair comes in either order.
std::wstring clean_paste(std::wstring_view pasted) {
  std::wstring text;
  for (std::size_t i = 0; i < pasted.size(); ++i) {
    const wchar_t c = pasted[i];
    if (is_break(c)) {
      text += L'\n';
      if (i + 1 < pasted.size() && is_break(pasted[i + 1]) && pasted[i + 1] != c) ++i;
    } else if (c == L'\t' || (c >= L' ' && (c < 0x7F || c >= 0xA0))) {
      text += c;
    }
  }
  while (text.ends_with(L'\n')) text.pop_back();
  return text;
}

/// Behind the text, so that what is printed next does not run into it.
void go_to_end(EditLine* el) {
  const LineInfoW* line = el_wline(el);
  el_cursor(el, static_cast<int>(line->lastchar - line->cursor));
}

}  // namespace

std::wstring_view LineEditor::Impl::line() const {
  const LineInfoW* info = el_wline(el.get());
  return {info->buffer, static_cast<std::size_t>(info->lastchar - info->buffer)};
}

bool LineEditor::Impl::replace_line(const std::wstring& text) const {
  go_to_end(el.get());
  el_deletestr(el.get(), static_cast<int>(line().size()));
  return text.empty() || el_winsertstr(el.get(), text.c_str()) == 0;
}

/// Our own, because libedit 3.1 forgets what is beyond 1024 characters of the line that was typed.
bool LineEditor::Impl::show_history(std::size_t entry) {
  if (entry > history.size()) return false;
  if (shown == 0) draft = line();
  shown = entry;
  return replace_line(entry == 0 ? draft : history[entry - 1]);
}

void LineEditor::Impl::complete() const {
  const LineInfoW* info = el_wline(el.get());
  const std::string word = narrow({info->buffer, static_cast<std::size_t>(info->cursor - info->buffer)});
  std::vector<std::string> matches;
  for (const std::string& command : commands) {
    if (!word.empty() && command.starts_with(word)) matches.push_back(command);
  }
  if (matches.empty()) return;
  std::string common = matches.front();
  for (const std::string& m : matches) {
    common.erase(std::mismatch(common.begin(), common.end(), m.begin(), m.end()).first, common.end());
  }
  if (common.size() > word.size()) {
    el_winsertstr(el.get(), widen(common.substr(word.size())).c_str());
  } else if (matches.size() > 1) {
    std::string list = "\n";
    for (const std::string& m : matches) list += m + "  ";
    write((list + "\n").c_str());
  }
}

/// The terminal has said that a paste begins: all keys until it says that it ends.
bool LineEditor::Impl::paste() {
  std::wstring text;
  wchar_t key = 0;
  while (!text.ends_with(kPasteEnd) && el_wgetc(el.get(), &key) == 1 && key != kCtrlC) {
    if (text.size() >= kMaxPaste + kPasteEnd.size()) text.erase(kMaxPaste, 1);
    text += key;
  }
  if (key == kCtrlC) push_keys("\3");
  if (text.ends_with(kPasteEnd)) text.resize(text.size() - kPasteEnd.size());
  text = clean_paste(text);
  return text.empty() || el_winsertstr(el.get(), text.c_str()) == 0;
}

/// Whether a search may start. It is libedit's, under another key.
bool LineEditor::Impl::search() const {
  if (line().size() > kMaxSearching) return false;
  el_wpush(el.get(), kSearchKey);
  return true;
}

void LineEditor::Impl::bind(const wchar_t* key, const wchar_t* function) const {
  el_wset(el.get(), EL_BIND, key, function, nullptr);
}

void LineEditor::Impl::bind_vi_key(const wchar_t* key, const wchar_t* function) const {
  el_wset(el.get(), EL_BIND, L"-a", key, function, nullptr);
}

void LineEditor::Impl::add_functions() const {
  struct Function {
    const wchar_t *name, *help;
    unsigned char (*call)(EditLine*, wint_t);
  };
  static constexpr auto refresh = [](bool done) -> unsigned char { return done ? CC_REFRESH : CC_ERROR; };
  const Function functions[] = {
      {L"tw-cancel", L"Give the line up",
       [](EditLine* e, wint_t) {
         of(e).cancelled = true;
         go_to_end(e);
         el_winsertstr(e, kCancelMark.data());
         of(e).push_keys("\n");  // ends the line next
         return refresh(true);
       }},
      {L"tw-paste", L"Insert a pasted text", [](EditLine* e, wint_t) { return refresh(of(e).paste()); }},
      {L"tw-newline", L"Insert a line break",
       [](EditLine* e, wint_t) { return refresh(el_winsertstr(e, L"\n") == 0); }},
      {L"tw-complete", L"Complete a command",
       [](EditLine* e, wint_t) -> unsigned char {
         of(e).complete();
         return CC_REDISPLAY;
       }},
      {L"tw-previous", L"Show what was typed before",
       [](EditLine* e, wint_t) { return refresh(of(e).show_history(of(e).shown + 1)); }},
      {L"tw-next", L"Show what was typed after",
       [](EditLine* e, wint_t) { return refresh(of(e).shown > 0 && of(e).show_history(of(e).shown - 1)); }},
      {L"tw-search", L"Search what was typed before",
       [](EditLine* e, wint_t) -> unsigned char { return of(e).search() ? CC_NORM : CC_ERROR; }},
  };
  for (const Function& f : functions) el_wset(el.get(), EL_ADDFN, f.name, f.help, f.call);
}

void LineEditor::Impl::bind_keys() {
  add_functions();
  bind(L"^C", L"tw-cancel");
  bind(L"^I", L"tw-complete");
  bind(L"^P", L"tw-previous");
  bind(L"^N", L"tw-next");
  bind(L"^U", L"vi-kill-line-prev");  // this and the next as in a shell with readline
  bind(L"^W", L"ed-delete-prev-word");
  const wchar_t* editor = nullptr;
  el_wget(el.get(), EL_EDITOR, &editor);
  if (std::wstring_view(editor) ==
      L"vi") {  // by `bind -v` in .editrc: Escape alone is a key, so none begins with it
    pastes = false;
    bind_vi_key(L"^C", L"tw-cancel");
    bind_vi_key(L"k", L"tw-previous");
    bind_vi_key(L"j", L"tw-next");
    bind_vi_key(L"\\e[A", L"tw-previous");
    bind_vi_key(L"\\e[B", L"tw-next");
    return;
  }
  bind(L"\\e[200~", L"tw-paste");
  bind(L"\\e^J", L"tw-newline");
  bind(L"\\e^M", L"tw-newline");
  for (const wchar_t* up : {L"\\e[A", L"\\eOA"}) bind(up, L"tw-previous");
  for (const wchar_t* down : {L"\\e[B", L"\\eOB"}) bind(down, L"tw-next");
  bind(L"^R", L"tw-search");
  bind(kSearchKey, L"em-inc-search-prev");
  bind(L"\\e[1~", L"ed-move-to-beg");
  bind(L"\\e[4~", L"ed-move-to-end");
  bind(L"\\e[3~", L"ed-delete-next-char");
  bind(L"\\e[1;5C", L"em-next-word");
  bind(L"\\e[1;5D", L"ed-prev-word");
}

}  // namespace tw::cli
