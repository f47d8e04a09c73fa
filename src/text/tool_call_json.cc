#include "text/tool_call_json.h"

#include <nlohmann/json.hpp>

namespace tw::text {
namespace {

constexpr std::size_t kMaxDepth = 128;
constexpr std::size_t kMaxNumber = 400;
constexpr std::size_t kMaxKey = 16;

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

JsonScanner::Status JsonScanner::set(State state) {
  state_ = state;
  return state == State::kBroken ? Status::kBroken : state == State::kDone ? Status::kDone : Status::kMore;
}

JsonScanner::Status JsonScanner::take(char byte) {
  switch (state_) {
    case State::kString:
    case State::kEscape:
    case State::kHex:
      return take_in_string(byte);
    case State::kNumber:
      return take_number(byte);
    case State::kWord:
      if (byte != word_[0]) return set(State::kBroken);
      word_.remove_prefix(1);
      return set(word_.empty() ? State::kAfterValue : State::kWord);
    case State::kDone:
    case State::kBroken:
      return set(State::kBroken);
    default:
      break;
  }
  if (is_space(byte)) return Status::kMore;
  switch (state_) {
    case State::kFirstItem:
      if (byte == ']') return close('[');
      return begin_value(byte);
    case State::kFirstKey:
      if (byte == '}') return close('{');
      [[fallthrough]];
    case State::kKey:
      if (byte != '"') return set(State::kBroken);
      is_key_ = true;
      return set(State::kString);
    case State::kColon:
      return set(byte == ':' ? State::kValue : State::kBroken);
    case State::kAfterValue:
      return after_value(byte);
    default:
      return begin_value(byte);
  }
}

JsonScanner::Status JsonScanner::begin_value(char byte) {
  if (byte == '{' || byte == '[') {
    if (stack_.size() >= kMaxDepth) return set(State::kBroken);
    stack_ += byte;
    return set(byte == '{' ? State::kFirstKey : State::kFirstItem);
  }
  if (stack_.empty()) return set(State::kBroken);
  if (byte == '"') {
    is_key_ = false;
    return set(State::kString);
  }
  if (byte == '-' || is_digit(byte)) {
    number_.assign(1, byte);
    return set(State::kNumber);
  }
  word_ = byte == 't' ? "rue" : byte == 'f' ? "alse" : byte == 'n' ? "ull" : "";
  return set(word_.empty() ? State::kBroken : State::kWord);
}

JsonScanner::Status JsonScanner::close(char bracket) {
  if (stack_.empty() || stack_.back() != bracket) return set(State::kBroken);
  stack_.pop_back();
  return set(stack_.empty() ? State::kDone : State::kAfterValue);
}

JsonScanner::Status JsonScanner::after_value(char byte) {
  if (byte == '}') return close('{');
  if (byte == ']') return close('[');
  if (byte != ',') return set(State::kBroken);
  return set(stack_.back() == '{' ? State::kKey : State::kValue);
}

JsonScanner::Status JsonScanner::take_in_string(char byte) {
  if (state_ == State::kEscape) {
    if (byte == 'u') {
      hex_left_ = 4;
      return set(State::kHex);
    }
    return set(std::string_view("\"\\/bfnrt").find(byte) != std::string_view::npos ? State::kString
                                                                                   : State::kBroken);
  }
  if (state_ == State::kHex) {
    const bool is_hex = is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
    if (!is_hex) return set(State::kBroken);
    return set(--hex_left_ == 0 ? State::kString : State::kHex);
  }
  if (byte == '"') return set(is_key_ ? State::kColon : State::kAfterValue);
  if (byte == '\\') return set(State::kEscape);
  return set(static_cast<unsigned char>(byte) < 0x20 ? State::kBroken : State::kString);
}

JsonScanner::Status JsonScanner::take_number(char byte) {
  if (is_digit(byte) || byte == '.' || byte == 'e' || byte == 'E' || byte == '+' || byte == '-') {
    if (number_.size() >= kMaxNumber) return set(State::kBroken);
    number_ += byte;
    return Status::kMore;
  }
  if (!nlohmann::json::accept(number_)) return set(State::kBroken);
  state_ = State::kAfterValue;
  return take(byte);
}

CallScanner::Status CallScanner::take(char byte) {
  const bool at_top = json_.depth() == 1;
  const bool was_in_string = json_.in_string();
  const bool starts_key = at_top && json_.expects_key() && byte == '"';
  const bool starts_value = at_top && json_.expects_value() && !is_space(byte);
  const std::size_t here = position_++;
  if (starts_value) {
    in_value_ = true;
    field_ = key_ == "name" && !has_name()                                       ? Field::kName
             : (key_ == "arguments" || key_ == "parameters") && !has_arguments() ? Field::kArguments
                                                                                 : Field::kOther;
    if (field_ == Field::kName && byte != '"') field_ = Field::kOther;
    if (field_ == Field::kName) name_begin_ = here;
    if (field_ == Field::kArguments) arguments_begin_ = here;
  }
  const Status status = json_.take(byte);
  if (starts_key) {
    key_.clear();
    in_key_ = true;
  } else if (in_key_) {
    if (!json_.in_string())
      in_key_ = false;
    else if (key_.size() < kMaxKey)
      key_ += byte;
  }
  if (!in_value_ || starts_value) return status;
  const bool closes = json_.depth() <= 1 && (was_in_string ? !json_.in_string() : byte == '}' || byte == ']');
  const bool scalar_ended = byte == ',' && at_top && !was_in_string;
  if (!closes && !scalar_ended) return status;
  in_value_ = false;
  if (status == Status::kBroken) return status;
  if (field_ == Field::kName) name_end_ = position_;
  // A bracket that closes the call itself, or a comma, ends a scalar just before it.
  const bool outside = scalar_ended || (at_top && !was_in_string);
  if (field_ == Field::kArguments) arguments_end_ = outside ? here : position_;
  return status;
}

}  // namespace tw::text
