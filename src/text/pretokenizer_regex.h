// Pre-tokenizer patterns are written for Oniguruma (Hugging Face) or Rust's regex; here they run on PCRE2
// with JIT.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

namespace tw::text {

/// A half-open range of bytes.
struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool operator==(const Span&) const = default;
};

/// The pattern in PCRE2's dialect with the same meaning: white space and word characters by Unicode's
/// definition,
/// \u escapes. Fails with kUnsupported, naming the construct, for what means something else there (class
/// intersection, recursion, callouts, back references ...).
base::Result<std::string> translate_regex(std::string_view pattern);

class RegexScratch;

/// A compiled pattern; immutable, thread-safe.
class Regex {
 public:
  /// Fails with kUnsupported or kCorrupt, naming the pattern.
  static base::Result<Regex> compile(std::string_view pattern);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  /// The first match at or after `from`. Nothing when there is none or when the match limit is reached.
  /// REQUIRES: subject is valid UTF-8 and from <= subject.size() is at a character's start.
  std::optional<Span> find(std::string_view subject, std::size_t from, RegexScratch& scratch) const;

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };
  struct FreeContext {
    void operator()(pcre2_real_match_context_8* context) const;
  };
  Regex() = default;
  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
  std::unique_ptr<pcre2_real_match_context_8, FreeContext> limits_;
  bool has_jit_ = false;
};

/// What matching writes to: one for each thread at work.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  pcre2_real_match_data_8* match_;
};

}  // namespace tw::text
