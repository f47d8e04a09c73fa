// `text % arguments` and `text.format(arguments)`.
#include "text/jinja_format.h"

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "text/jinja_number.h"
#include "text/jinja_ops.h"
#include "text/jinja_str.h"

namespace tw::text::jinja {
namespace {

using base::Result;
using base::Status;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Walks a '%' format. Arguments come from a tuple in turn, from a mapping by name, or are one single value.
class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, std::string_view format, const Value& arguments, bool markup)
      : runtime_(runtime), format_(format), arguments_(arguments), markup_(markup) {}

  Result<std::string> run() {
    while (pos_ < format_.size()) {
      const std::size_t percent = std::min(format_.find('%', pos_), format_.size());
      out_ += format_.substr(pos_, percent - pos_);
      pos_ = percent + 1;
      if (percent == format_.size()) break;
      TW_RETURN_IF_ERROR(conversion());
      TW_RETURN_IF_ERROR(runtime_.step());
      TW_RETURN_IF_ERROR(runtime_.check_memory(out_.size()));
    }
    const bool tuple = arguments_.is(Kind::kTuple);
    const bool mapping = arguments_.is(Kind::kDict) || arguments_.is(Kind::kList);
    const bool left = tuple ? used_ < arguments_.items().size() : used_ == 0 && !mapping;
    if (left) return template_error("not all arguments converted during string formatting");
    return std::move(out_);
  }

 private:
  Result<Value> next_argument() {
    if (named_) return *std::exchange(named_, std::nullopt);
    if (!arguments_.is(Kind::kTuple)) {
      if (used_++ > 0) return template_error("not enough arguments for format string");
      return arguments_;
    }
    if (used_ >= arguments_.items().size()) return template_error("not enough arguments for format string");
    return arguments_.items()[used_++];
  }

  Status key() {
    if (pos_ >= format_.size() || format_[pos_] != '(') return base::Ok{};
    const std::size_t close = format_.find(')', pos_);
    if (close == std::string_view::npos) return template_error("incomplete format key");
    if (!arguments_.is(Kind::kDict)) return template_error("format requires a mapping");
    const std::string_view name = format_.substr(pos_ + 1, close - pos_ - 1);
    const Value* found = arguments_.as<Dict>().items.find(name);
    if (found == nullptr) return template_error("key '{}' is not in the mapping", name);
    named_ = *found;
    pos_ = close + 1;
    return base::Ok{};
  }

  void flags(FormatSpec& spec) {
    for (; pos_ < format_.size(); ++pos_) {
      switch (format_[pos_]) {
        case '-':
          spec.align = '<';
          break;
        case '+':
          spec.sign = '+';
          break;
        case ' ':
          spec.sign = spec.sign == '+' ? '+' : ' ';
          break;
        case '#':
          spec.alternate = true;
          break;
        case '0':
          zero_ = true;
          break;
        default:
          return;
      }
    }
  }

  /// A number, or '*' for the next argument.
  Result<Int> amount() {
    if (pos_ < format_.size() && format_[pos_] == '*') {
      ++pos_;
      TW_ASSIGN_OR_RETURN(const Value value, next_argument());
      if (!value.is_integer()) return template_error("* wants int");
      return std::clamp<Int>(value.as_int(), -INT32_MAX, INT32_MAX);
    }
    Int out = 0;
    for (; pos_ < format_.size() && is_digit(format_[pos_]); ++pos_) {
      out = std::min<Int>(out * 10 + (format_[pos_] - '0'), INT64_MAX);
    }
    return out;
  }

  Status conversion() {
    FormatSpec spec;
    zero_ = false;
    TW_RETURN_IF_ERROR(key());
    flags(spec);
    TW_ASSIGN_OR_RETURN(spec.width, amount());
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (pos_ < format_.size() && format_[pos_] == '.') {
      ++pos_;
      TW_ASSIGN_OR_RETURN(spec.precision, amount());
      spec.precision = std::max<Int>(spec.precision, 0);
    }
    while (pos_ < format_.size() && (format_[pos_] == 'l' || format_[pos_] == 'h' || format_[pos_] == 'L'))
      ++pos_;
    if (pos_ >= format_.size()) return template_error("incomplete format");
    spec.type = format_[pos_++];
    if (spec.type == '%') {
      out_ += '%';
      return base::Ok{};
    }
    TW_ASSIGN_OR_RETURN(const Value value, next_argument());
    TW_ASSIGN_OR_RETURN(const std::string text, convert(spec, value));
    out_ += text;
    return base::Ok{};
  }

  Result<std::string> convert(FormatSpec& spec, const Value& value) {
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a':
        return text(spec, value);
      case 'c':
        return character(spec, value);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return integer(spec, value);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        break;
      default:
        return template_error("unsupported format character '{}'", spec.type);
    }
    if (!value.is_number()) return template_error("must be real number, not {}", value.type_name());
    zero_pad(spec);
    return format_float(runtime_, spec, value.as_double());
  }

  void zero_pad(FormatSpec& spec) const {
    if (!zero_ || spec.align != 0) return;
    spec.fill = "0";
    spec.align = '=';
  }

  Result<std::string> text(const FormatSpec& spec, const Value& value) {
    std::string out;
    TW_RETURN_IF_ERROR(spec.type == 's' ? append_text(runtime_, out, value)
                                        : append_repr(runtime_, out, value));
    if (markup_ && !value.is_markup()) out = html_escaped(out);
    if (spec.precision >= 0) {
      const auto keep = static_cast<std::size_t>(std::min<Int>(spec.precision, INT64_MAX));
      out.resize(byte_offset(out, keep));
    }
    return pad_text(runtime_, spec, '>', std::move(out));
  }

  Result<std::string> character(const FormatSpec& spec, const Value& value) {
    std::string out;
    if (value.is_integer() && value.as_int() >= 0 && value.as_int() <= 0x10FFFF) {
      base::append_utf8(out, static_cast<char32_t>(value.as_int()));
    } else if (value.is_string() && value.as<String>().length == 1) {
      out = value.text();
    } else {
      return template_error("%c requires int or char");
    }
    return pad_text(runtime_, spec, '>', std::move(out));
  }

  Result<std::string> integer(FormatSpec& spec, const Value& value) {
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    const bool truncates = decimal && value.is(Kind::kFloat) && std::fabs(value.as_double()) < 1e38;
    if (!value.is_integer() && !truncates) {
      return template_error("%{} format: a number is required, not {}", spec.type, value.type_name());
    }
    const Int number = truncates ? static_cast<Int>(value.as_double()) : value.as_int();
    if (decimal) spec.type = 'd';
    zero_pad(spec);
    if (spec.precision < 0) return format_int(runtime_, spec, number);
    // '%.5d': at least so many digits.
    FormatSpec digits = spec;
    digits.width = std::exchange(digits.precision, -1) + (number < 0 || spec.sign != '-' ? 1 : 0);
    digits.fill = "0";
    digits.align = '=';
    TW_ASSIGN_OR_RETURN(std::string made, format_int(runtime_, digits, number));
    return pad_text(runtime_, spec, '>', std::move(made));
  }

  Runtime& runtime_;
  std::string_view format_;
  const Value& arguments_;
  const bool markup_;
  std::size_t pos_ = 0;
  std::size_t used_ = 0;
  bool zero_ = false;
  std::optional<Value> named_;
  std::string out_;
};

}  // namespace

Result<Value> format_percent(Runtime& runtime, const Value& format, const Value& arguments) {
  PercentFormatter formatter(runtime, format.text(), arguments, format.is_markup());
  TW_ASSIGN_OR_RETURN(std::string out, formatter.run());
  return runtime.string(std::move(out), format.is_markup());
}

}  // namespace tw::text::jinja
