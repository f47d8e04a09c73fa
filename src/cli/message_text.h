// A message typed at the prompt may take several lines: by a backslash at the end of a line, by triple quotes
// around it, or because the line itself has line breaks, from a paste.
#pragma once

#include <string>
#include <string_view>

namespace tw::cli {

class MessageText {
 public:
  /// Takes the next line, without its line break (those inside it count as text). True: the message is
  /// complete.
  bool add(std::string_view line);

  bool empty() const { return typed_.empty(); }
  void clear() { *this = {}; }
  /// The message, without quotes and backslashes. A command's name stays in front: `/system """..."""`.
  std::string text() const;
  /// What gives the same message again when it is typed as one line.
  const std::string& typed() const { return typed_; }

 private:
  std::string typed_;
};

/// The name of the command that a message calls, such as "/clear", or nothing: letters after the slash, then
/// a blank or the end. So a path or a comment is a message.
std::string_view command_name(std::string_view message);

}  // namespace tw::cli
