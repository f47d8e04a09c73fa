// Reads the JSON object of a tool call byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tw::text {

/// Checks JSON as it comes, one byte at a time; it keeps no text. Nesting deeper than 128 counts as broken.
class JsonScanner {
 public:
  enum class Status : std::uint8_t { kMore, kDone, kBroken };

  /// Takes a byte of a JSON value that begins with { or [. After kDone or kBroken it takes no more.
  Status take(char byte);
  /// Open brackets, the current string not counted.
  std::size_t depth() const { return stack_.size(); }
  bool in_string() const {
    return state_ == State::kString || state_ == State::kEscape || state_ == State::kHex;
  }
  /// Whether the next string would be a key.
  bool expects_key() const { return state_ == State::kKey || state_ == State::kFirstKey; }
  /// Whether a value may begin with the next byte.
  bool expects_value() const { return state_ == State::kValue || state_ == State::kFirstItem; }

 private:
  enum class State : std::uint8_t {
    kValue,
    kFirstItem,
    kFirstKey,
    kKey,
    kColon,
    kAfterValue,
    kString,
    kEscape,
    kHex,
    kNumber,
    kWord,
    kDone,
    kBroken,
  };
  Status set(State state);
  Status begin_value(char byte);
  Status after_value(char byte);
  Status take_in_string(char byte);
  Status take_number(char byte);
  Status close(char bracket);

  State state_ = State::kValue;
  bool is_key_ = false;
  int hex_left_ = 0;
  std::string stack_;      ///< open brackets
  std::string number_;     ///< the digits so far, checked when the number ends
  std::string_view word_;  ///< what must still come of true, false, null
};

/// Follows a call's object and notes where its name and its arguments stand. Offsets count from the object's
/// `{`.
class CallScanner {
 public:
  using Status = JsonScanner::Status;

  Status take(char byte);
  /// The name once its string has ended: offsets of the string with its quotes.
  bool has_name() const { return name_end_ > 0; }
  std::size_t name_begin() const { return name_begin_; }
  std::size_t name_end() const { return name_end_; }
  /// The value of "arguments" or "parameters" has begun; if it has ended, arguments_end() is not 0.
  bool has_arguments() const { return arguments_begin_ > 0; }
  std::size_t arguments_begin() const { return arguments_begin_; }
  std::size_t arguments_end() const { return arguments_end_; }

 private:
  enum class Field : std::uint8_t { kOther, kName, kArguments };

  JsonScanner json_;
  std::size_t position_ = 0;
  std::string key_;  ///< the current key at depth 1, cut at 16 bytes
  bool in_key_ = false;
  Field field_ = Field::kOther;
  bool in_value_ = false;
  std::size_t name_begin_ = 0, name_end_ = 0;
  std::size_t arguments_begin_ = 0, arguments_end_ = 0;
};

}  // namespace tw::text
