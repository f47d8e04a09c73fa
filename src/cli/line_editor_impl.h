// What the parts of LineEditor share; for line_editor*.cc only. Where keys come from is in
// line_editor_keys.cc, what they do in line_editor_functions.cc.
#pragma once

#include <histedit.h>

#include <cstdio>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/line_editor.h"

namespace tw::cli {

std::wstring widen(std::string_view text);
std::string narrow(std::wstring_view wide);

struct LineEditor::Impl {
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  struct EndHistory {
    void operator()(HistoryW* ended) const { history_wend(ended); }
  };
  struct EndEditor {
    void operator()(EditLine* ended) const { el_end(ended); }
  };
  static constexpr wchar_t kCtrlC = 3;
  static constexpr std::wstring_view kCancelMark =
      L"^C";  ///< what a shell leaves behind a line that is given up

  Impl(SignalPipe& pipe, std::vector<std::string> words) : signals(pipe), commands(std::move(words)) {}
  base::Status open();
  static Impl& of(EditLine* el);

  SignalPipe& signals;
  std::vector<std::string> commands;
  bool terminal = false;  ///< the prompt's file is one; else lines are read as they come
  bool escapes = false;   ///< the terminal knows them
  bool pastes = false;    ///< the terminal marks where a paste begins and ends
  std::unique_ptr<std::FILE, CloseFile> out;
  std::unique_ptr<HistoryW, EndHistory> searched;  ///< libedit's copy of `history`, for Ctrl-R
  std::unique_ptr<EditLine, EndEditor> el;
  std::wstring prompt;
  bool cancelled = false, terminated = false;  ///< the line that is read

  // Keys.
  std::string keys;    ///< bytes that were read; those before `at` have been handed out
  std::size_t at = 0;  ///< in keys
  /// Instead of what is there: Ctrl-C forgets what was typed ahead.
  void push_keys(const char* bytes);
  bool take_key(wchar_t& key);
  int on_signal(wchar_t& key);
  /// libedit's contract: 1 with a character, 0 at the end of input, -1 with errno.
  int read_key(wchar_t& key);
  bool edits() const;
  void write(const char* text) const;
  void redraw() const;

  // Functions.
  std::deque<std::wstring> history;  ///< newest first
  std::size_t shown = 0;             ///< 0: the line that is being typed; i: history[i - 1]
  std::wstring draft;                ///< that line, while another is shown
  void add_functions() const;
  void bind_keys();
  void bind(const wchar_t* key, const wchar_t* function) const;
  void bind_vi_key(const wchar_t* key, const wchar_t* function) const;
  std::wstring_view line() const;
  bool replace_line(const std::wstring& text) const;
  bool show_history(std::size_t entry);
  void complete() const;
  bool paste();
  bool search() const;
};

}  // namespace tw::cli
