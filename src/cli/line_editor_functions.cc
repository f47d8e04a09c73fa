// What LineEditor's keys do beyond libedit's own functions.
#include <algorithm>

#include "cli/line_editor_impl.h"

namespace tw::cli {
namespace {

constexpr std::size_t kMaxPaste = std::size_t{4} << 20;  // characters: more than any context holds
constexpr std::wstring_view kPasteEnd = L"\x1b[201~";
// libedit 3.1 keeps only so much of the line that was typed when a search shows another.
constexpr std::size_t kMaxSearching = 1000;

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
    text += c;
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

void LineEditor::Impl::bind_keys() const {
  struct Function {
    const wchar_t *name, *help;
    unsigned char (*call)(EditLine*, wint_t);
    std::vector<const wchar_t*> keys;
  };
  const Function functions[] = {
      {L"tw-cancel",
       L"Give the line up",
       [](EditLine* e, wint_t) -> unsigned char {
         of(e).cancelled = true;
         go_to_end(e);
         el_winsertstr(e, kCancelMark.data());
         of(e).push_keys("\n");  // ends the line next
         return CC_REFRESH;
       },
       {L"^C"}},
      {L"tw-paste",
       L"Insert a pasted text",
       [](EditLine* e, wint_t) -> unsigned char { return of(e).paste() ? CC_REFRESH : CC_ERROR; },
       {L"\\e[200~"}},
      {L"tw-complete",
       L"Complete a command",
       [](EditLine* e, wint_t) -> unsigned char { return of(e).complete(), CC_REDISPLAY; },
       {L"^I"}},
      {L"tw-newline",
       L"Insert a line break",
       [](EditLine* e, wint_t) -> unsigned char {
         return el_winsertstr(e, L"\n") == 0 ? CC_REFRESH : CC_ERROR;
       },
       {L"\\e^J", L"\\e^M"}},
      {L"tw-previous",
       L"Show what was typed before",
       [](EditLine* e, wint_t) -> unsigned char {
         return of(e).show_history(of(e).shown + 1) ? CC_REFRESH : CC_ERROR;
       },
       {L"\\e[A", L"\\eOA", L"^P"}},
      {L"tw-next",
       L"Show what was typed after",
       [](EditLine* e, wint_t) -> unsigned char {
         return of(e).shown > 0 && of(e).show_history(of(e).shown - 1) ? CC_REFRESH : CC_ERROR;
       },
       {L"\\e[B", L"\\eOB", L"^N"}},
      {L"tw-search",
       L"Search what was typed before",
       [](EditLine* e, wint_t) -> unsigned char {
         if (of(e).line().size() > kMaxSearching) return CC_ERROR;
         el_wpush(e, L"\x1b\x12");  // bound to libedit's function below
         return CC_NORM;
       },
       {L"^R"}},
  };
  const auto bind = [this](const wchar_t* key, const wchar_t* name) {
    el_wset(el.get(), EL_BIND, key, name, nullptr);
  };
  for (const Function& f : functions) {
    el_wset(el.get(), EL_ADDFN, f.name, f.help, f.call);
    for (const wchar_t* key : f.keys) bind(key, f.name);
  }
  el_wset(el.get(), EL_BIND, L"-a", L"^C", L"tw-cancel",
          nullptr);  // vi's command mode, for those who `bind -v`
  el_wset(el.get(), EL_BIND, L"-a", L"k", L"tw-previous", nullptr);
  el_wset(el.get(), EL_BIND, L"-a", L"j", L"tw-next", nullptr);
  // As in a shell with readline.
  bind(L"\\e^R", L"em-inc-search-prev");
  bind(L"^U", L"vi-kill-line-prev");
  bind(L"^W", L"ed-delete-prev-word");
  bind(L"\\e[1~", L"ed-move-to-beg");
  bind(L"\\e[4~", L"ed-move-to-end");
  bind(L"\\e[3~", L"ed-delete-next-char");
  bind(L"\\e[1;5C", L"em-next-word");
  bind(L"\\e[1;5D", L"ed-prev-word");
}

}  // namespace tw::cli
